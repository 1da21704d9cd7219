-- A queue as the first released schema wrote it, with jobs in most states (`.dump` of sqlite3).
PRAGMA application_id = 1701204817;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE daemon (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        user TEXT NOT NULL,
        version TEXT NOT NULL,
        started_at REAL NOT NULL,
        seen_at REAL NOT NULL,
        stopped_at REAL
    ) STRICT
    ;
INSERT INTO "daemon" VALUES(1,8612,'vm','root','0.1.0',1000150.0,1000150.0,NULL);
CREATE TABLE decisions (
        plan_id INTEGER NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        block TEXT CHECK (block IS NULL OR json_valid(block)),
        schedule TEXT NOT NULL CHECK (json_valid(schedule)),
        finish REAL,
        promise TEXT NOT NULL,
        reason TEXT NOT NULL CHECK (json_valid(reason)),
        PRIMARY KEY (plan_id, job_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "decisions" VALUES(6,4,NULL,'[[1000947.0,1003766.5,4,"gpu",4]]',1003766.5,'safe','{"code":"waits","job":null,"gpus":null,"until":1000947.0}');
INSERT INTO "decisions" VALUES(6,5,NULL,'[]',NULL,'none','{"code":"waits","job":null,"gpus":null,"until":null}');
INSERT INTO "decisions" VALUES(6,6,'{"gpu_type":"gpu","nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"first_gpu":0}','[[1000061.3,1000947.0,16,"gpu",0]]',1000947.0,'safe','{"code":"kept","job":null,"gpus":16,"until":null}');
INSERT INTO "decisions" VALUES(7,4,NULL,'[[1000947.3,1003766.8,4,"gpu",0]]',1003766.8,'safe','{"code":"waits","job":null,"gpus":null,"until":1000947.3}');
INSERT INTO "decisions" VALUES(7,5,NULL,'[]',NULL,'none','{"code":"waits","job":null,"gpus":null,"until":null}');
INSERT INTO "decisions" VALUES(7,6,'{"gpu_type":"gpu","nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"first_gpu":0}','[[1000121.3,1000947.3,16,"gpu",0]]',1000947.3,'safe','{"code":"kept","job":null,"gpus":16,"until":null}');
CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        job_id INTEGER REFERENCES jobs (id),
        kind TEXT NOT NULL,
        actor TEXT NOT NULL,
        message TEXT NOT NULL,
        data TEXT NOT NULL CHECK (json_valid(data))
    ) STRICT
    ;
INSERT INTO "events" VALUES(1,1000000.0,1,'submitted','user1','submitted as Slurm job 1','{"slurm_job_id":1}');
INSERT INTO "events" VALUES(2,1000000.0,1,'verdict','ef-schedd','promised: 1 GPU are enough, predicted finish 1970-01-12 13:52:08 UTC','{"outcome":"promised","share":1,"finish":1000328.0,"earliest_deadline":null}');
INSERT INTO "events" VALUES(3,1000000.0,1,'promised','ef-schedd','promised with 1 GPUs','{"deadline":1000600.0,"finish":1000328.0,"share":1}');
INSERT INTO "events" VALUES(4,1000000.0,1,'state','ef-schedd','promised: 1 GPU are enough, predicted finish 1970-01-12 13:52:08 UTC','{"from":"new","to":"admitted"}');
INSERT INTO "events" VALUES(5,1000000.0,1,'share','ef-schedd','0 → 16 GPUs on n[1-4]: starts on 16 GPUs','{"from":0,"to":16,"nodes":"n[1-4]","gpus_per_node":4}');
INSERT INTO "events" VALUES(6,1000000.0,1,'intent','ef-schedd','shape: it is to run on n1,n2,n3,n4 with 16 GPUs','{"intent":1,"action":"shape","state":"open","generation":0}');
INSERT INTO "events" VALUES(7,1000000.0,1,'state','ef-schedd','it is to run on n1,n2,n3,n4 with 16 GPUs','{"from":"admitted","to":"starting"}');
INSERT INTO "events" VALUES(8,1000000.0,1,'intent','ef-schedd','release: it is to run on n1,n2,n3,n4 with 16 GPUs','{"intent":2,"action":"release","state":"open","generation":0}');
INSERT INTO "events" VALUES(9,1000007.0,1,'measured','ef-schedd','start took 6.0 s until training on 16 GPUs','{"what":"start","value":6.0,"gpus":16}');
INSERT INTO "events" VALUES(10,1000007.0,1,'state','ef-schedd','trains on n1,n2,n3,n4 (16 GPUs)','{"from":"starting","to":"running"}');
INSERT INTO "events" VALUES(11,1000020.0,2,'submitted','user1','submitted as Slurm job 2','{"slurm_job_id":2}');
INSERT INTO "events" VALUES(12,1000020.0,3,'submitted','user1','submitted as Slurm job 3','{"slurm_job_id":3}');
INSERT INTO "events" VALUES(13,1000020.0,2,'verdict','ef-schedd','not promised: not even the empty cluster finishes it by its deadline; the earliest deadline that can be promised is 1970-01-13 20:52:32 UTC','{"outcome":"rejected","share":0,"finish":null,"earliest_deadline":1111952.2981770833}');
INSERT INTO "events" VALUES(14,1000020.0,2,'state','ef-schedd','not promised: not even the empty cluster finishes it by its deadline; the earliest deadline that can be promised is 1970-01-13 20:52:32 UTC','{"from":"new","to":"rejected"}');
INSERT INTO "events" VALUES(15,1000020.0,3,'verdict','ef-schedd','promised: 1 GPU are enough, predicted finish 1970-01-12 14:20:48 UTC','{"outcome":"promised","share":1,"finish":1002048.5555555555,"earliest_deadline":null}');
INSERT INTO "events" VALUES(16,1000020.0,3,'promised','ef-schedd','promised with 1 GPUs','{"deadline":1003020.0,"finish":1002048.5555555555,"share":1}');
INSERT INTO "events" VALUES(17,1000020.0,3,'state','ef-schedd','promised: 1 GPU are enough, predicted finish 1970-01-12 14:20:48 UTC','{"from":"new","to":"admitted"}');
INSERT INTO "events" VALUES(18,1000020.0,3,'intent','ef-schedd','hold: it is to hold no GPUs','{"intent":3,"action":"hold","state":"open","generation":0}');
INSERT INTO "events" VALUES(19,1000030.0,2,'intent','ef-schedd','cancel: its queue job has ended','{"intent":4,"action":"cancel","state":"open","generation":0}');
INSERT INTO "events" VALUES(20,1000037.0,1,'measured','ef-schedd','90 iterations/s (its curve says 90) on 16 GPUs','{"what":"rate","value":90.0,"gpus":16}');
INSERT INTO "events" VALUES(21,1000042.0,1,'state','ef-schedd','training complete','{"from":"running","to":"completed"}');
INSERT INTO "events" VALUES(22,1000042.0,1,'promise','ef-schedd','promise kept: training complete','{"from":"open","to":"kept"}');
INSERT INTO "events" VALUES(23,1000042.0,3,'share','ef-schedd','0 → 16 GPUs on n[1-4]: starts on 16 GPUs','{"from":0,"to":16,"nodes":"n[1-4]","gpus_per_node":4}');
INSERT INTO "events" VALUES(24,1000042.0,3,'intent','ef-schedd','shape: it is to run on n1,n2,n3,n4 with 16 GPUs','{"intent":5,"action":"shape","state":"open","generation":0}');
INSERT INTO "events" VALUES(25,1000042.0,3,'state','ef-schedd','it is to run on n1,n2,n3,n4 with 16 GPUs','{"from":"admitted","to":"starting"}');
INSERT INTO "events" VALUES(26,1000042.0,3,'intent','ef-schedd','release: it is to run on n1,n2,n3,n4 with 16 GPUs','{"intent":6,"action":"release","state":"open","generation":0}');
INSERT INTO "events" VALUES(27,1000049.0,3,'measured','ef-schedd','start took 6.0 s until training on 16 GPUs','{"what":"start","value":6.0,"gpus":16}');
INSERT INTO "events" VALUES(28,1000049.0,3,'state','ef-schedd','trains on n1,n2,n3,n4 (16 GPUs)','{"from":"starting","to":"running"}');
INSERT INTO "events" VALUES(29,1000060.0,4,'submitted','user1','submitted as Slurm job 4','{"slurm_job_id":4}');
INSERT INTO "events" VALUES(30,1000060.0,5,'submitted','user1','submitted as Slurm job 5','{"slurm_job_id":5}');
INSERT INTO "events" VALUES(31,1000060.0,6,'submitted','user1','submitted as Slurm job 6','{"slurm_job_id":6}');
INSERT INTO "events" VALUES(32,1000060.0,4,'verdict','ef-schedd','promised: 4 GPUs are enough, predicted finish 1970-01-12 14:38:16 UTC','{"outcome":"promised","share":4,"finish":1003096.7222222222,"earliest_deadline":null}');
INSERT INTO "events" VALUES(33,1000060.0,4,'promised','ef-schedd','promised with 4 GPUs','{"deadline":1005060.0,"finish":1003096.7222222222,"share":4}');
INSERT INTO "events" VALUES(34,1000060.0,4,'state','ef-schedd','promised: 4 GPUs are enough, predicted finish 1970-01-12 14:38:16 UTC','{"from":"new","to":"admitted"}');
INSERT INTO "events" VALUES(35,1000060.0,5,'verdict','ef-schedd','runs as best effort (starts on some GPUs)','{"outcome":"best-effort","share":0,"finish":null,"earliest_deadline":null}');
INSERT INTO "events" VALUES(36,1000060.0,5,'state','ef-schedd','runs as best effort (starts on some GPUs)','{"from":"new","to":"admitted"}');
INSERT INTO "events" VALUES(37,1000060.0,6,'verdict','ef-schedd','promised: 16 GPUs are enough, predicted finish 1970-01-12 14:02:27 UTC','{"outcome":"promised","share":16,"finish":1000947.0,"earliest_deadline":null}');
INSERT INTO "events" VALUES(38,1000060.0,6,'promised','ef-schedd','promised with 16 GPUs','{"deadline":1000990.0,"finish":1000947.0,"share":16}');
INSERT INTO "events" VALUES(39,1000060.0,6,'state','ef-schedd','promised: 16 GPUs are enough, predicted finish 1970-01-12 14:02:27 UTC','{"from":"new","to":"admitted"}');
INSERT INTO "events" VALUES(40,1000060.0,3,'share','ef-schedd','16 → 0 GPUs: pauses: the promise to job 6 needs its GPUs','{"from":16,"to":0,"nodes":"","gpus_per_node":0}');
INSERT INTO "events" VALUES(41,1000060.0,6,'share','ef-schedd','0 → 16 GPUs on n[1-4]: starts on 16 GPUs','{"from":0,"to":16,"nodes":"n[1-4]","gpus_per_node":4}');
INSERT INTO "events" VALUES(42,1000060.0,4,'intent','ef-schedd','hold: it is to hold no GPUs','{"intent":7,"action":"hold","state":"open","generation":0}');
INSERT INTO "events" VALUES(43,1000060.0,5,'intent','ef-schedd','hold: it is to hold no GPUs','{"intent":8,"action":"hold","state":"open","generation":0}');
INSERT INTO "events" VALUES(44,1000061.3,3,'state','user1','cancelled in Slurm','{"from":"running","to":"cancelled"}');
INSERT INTO "events" VALUES(45,1000061.3,3,'promise','ef-schedd','promise released: cancelled in Slurm','{"from":"open","to":"released"}');
INSERT INTO "events" VALUES(46,1000061.3,6,'intent','ef-schedd','shape: it is to run on n1,n2,n3,n4 with 16 GPUs','{"intent":9,"action":"shape","state":"open","generation":0}');
INSERT INTO "events" VALUES(47,1000061.3,6,'state','ef-schedd','it is to run on n1,n2,n3,n4 with 16 GPUs','{"from":"admitted","to":"starting"}');
INSERT INTO "events" VALUES(48,1000061.3,6,'intent','ef-schedd','release: it is to run on n1,n2,n3,n4 with 16 GPUs','{"intent":10,"action":"release","state":"open","generation":0}');
INSERT INTO "events" VALUES(49,1000068.3,6,'measured','ef-schedd','start took 7.3 s until training on 16 GPUs','{"what":"start","value":7.300000000046566,"gpus":16}');
INSERT INTO "events" VALUES(50,1000068.3,6,'state','ef-schedd','trains on n1,n2,n3,n4 (16 GPUs)','{"from":"starting","to":"running"}');
INSERT INTO "events" VALUES(51,1000098.3,6,'measured','ef-schedd','90 iterations/s (its curve says 90) on 16 GPUs','{"what":"rate","value":90.0,"gpus":16}');
CREATE TABLE intents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        generation INTEGER NOT NULL,
        action TEXT NOT NULL,
        arguments TEXT NOT NULL CHECK (json_valid(arguments)),
        state TEXT NOT NULL DEFAULT 'open',
        opened_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT ''
    ) STRICT
    ;
INSERT INTO "intents" VALUES(1,1,0,'shape','{"restarts":0,"nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"gpu_type":"gpu"}','closed',1000000.0,1000000.0,0,'');
INSERT INTO "intents" VALUES(2,1,0,'release','{"restarts":0,"nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"gpu_type":"gpu"}','closed',1000000.0,1000001.0,0,'');
INSERT INTO "intents" VALUES(3,3,0,'hold','{"restarts":0}','closed',1000020.0,1000020.0,0,'');
INSERT INTO "intents" VALUES(4,2,0,'cancel','{"restarts":0}','closed',1000030.0,1000030.0,0,'');
INSERT INTO "intents" VALUES(5,3,0,'shape','{"restarts":0,"nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"gpu_type":"gpu"}','closed',1000042.0,1000042.0,0,'');
INSERT INTO "intents" VALUES(6,3,0,'release','{"restarts":0,"nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"gpu_type":"gpu"}','closed',1000042.0,1000043.0,0,'');
INSERT INTO "intents" VALUES(7,4,0,'hold','{"restarts":0}','closed',1000060.0,1000060.0,0,'');
INSERT INTO "intents" VALUES(8,5,0,'hold','{"restarts":0}','closed',1000060.0,1000060.0,0,'');
INSERT INTO "intents" VALUES(9,6,0,'shape','{"restarts":0,"nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"gpu_type":"gpu"}','closed',1000061.3,1000061.3,0,'');
INSERT INTO "intents" VALUES(10,6,0,'release','{"restarts":0,"nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"gpu_type":"gpu"}','closed',1000061.3,1000062.3,0,'');
CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        revision INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'new',
        held_from TEXT,
        -- What was submitted.
        slurm_job_id INTEGER NOT NULL CHECK (slurm_job_id > 0),
        cluster TEXT NOT NULL,
        owner TEXT NOT NULL CHECK (owner <> ''),
        uid INTEGER NOT NULL CHECK (uid >= 0),
        account TEXT NOT NULL,
        partition TEXT NOT NULL,
        name TEXT NOT NULL,
        submitted REAL NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('deadline', 'soft-deadline', 'best-effort')),
        deadline REAL CHECK ((deadline IS NULL) = (kind = 'best-effort')),
        grace REAL NOT NULL DEFAULT 0 CHECK (grace >= 0),
        if_infeasible TEXT NOT NULL,
        iterations INTEGER NOT NULL CHECK (iterations > 0),
        global_batch_size INTEGER NOT NULL CHECK (global_batch_size > 0),
        curves TEXT NOT NULL CHECK (json_valid(curves)),
        curve_source TEXT NOT NULL,
        overhead TEXT NOT NULL CHECK (json_valid(overhead)),
        max_gpus INTEGER CHECK (max_gpus > 0),
        max_time REAL CHECK (max_time > 0),
        state_dir TEXT NOT NULL,
        script TEXT NOT NULL,
        options TEXT NOT NULL CHECK (json_valid(options)),
        arguments TEXT NOT NULL CHECK (json_valid(arguments)),
        directory TEXT NOT NULL,
        -- What has become of it.
        best_effort INTEGER NOT NULL DEFAULT 0 CHECK (best_effort IN (0, 1)),
        generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0),
        iteration REAL NOT NULL DEFAULT 0 CHECK (iteration >= 0),
        checkpoint_iteration REAL NOT NULL DEFAULT 0 CHECK (checkpoint_iteration >= 0),
        rate REAL,
        progress_at REAL,
        first_started_at REAL,
        running TEXT CHECK (running IS NULL OR json_valid(running)),
        plan TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(plan)),
        finish REAL,
        promise TEXT NOT NULL DEFAULT 'none',
        reason TEXT CHECK (reason IS NULL OR json_valid(reason)),
        last_reshape REAL,
        reshapes INTEGER NOT NULL DEFAULT 0,
        fruitless INTEGER NOT NULL DEFAULT 0,
        ended_at REAL,
        exit_code INTEGER,
        note TEXT NOT NULL DEFAULT ''
    ) STRICT
    ;
INSERT INTO "jobs" VALUES(1,30,'completed',NULL,1,'mini','user1',0,'acct1','ef','train',1000000.0,'deadline',1000600.0,0.0,'reject',3200,64,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','--throughput','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}',NULL,NULL,'/shared/1','#!/bin/bash
# it''s a script
true "$@"
','["--account=acct1","--time=60"]','["--data","a b"]','/home/user1',0,1,3200.0,3200.0,90.0,1000042.0,1000001.0,NULL,'[[1000041.5555555555,1000042.5555555555,16,"gpu",0]]',1.00004255555555550383e+06,'none','{"code":"kept","job":null,"gpus":16,"until":null}',NULL,0,0,1000042.0,0,'');
INSERT INTO "jobs" VALUES(2,1,'rejected',NULL,2,'mini','user1',0,'acct1','ef','train',1000020.0,'deadline',1000120.0,0.0,'reject',10000000,64,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','--throughput','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}',NULL,NULL,'/shared/2','#!/bin/bash
# it''s a script
true "$@"
','["--account=acct1","--time=60"]','["--data","a b"]','/home/user1',0,0,0.0,0.0,NULL,NULL,NULL,NULL,'[]',NULL,'none',NULL,NULL,0,0,1000020.0,NULL,'');
INSERT INTO "jobs" VALUES(3,20,'cancelled',NULL,3,'mini','user1',0,'acct1','ef','train',1000020.0,'deadline',1003020.0,0.0,'reject',20000,64,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','--throughput','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}',NULL,NULL,'/shared/3','#!/bin/bash
# it''s a script
true "$@"
','["--account=acct1","--time=60"]','["--data","a b"]','/home/user1',0,1,1080.0,1080.0,90.0,1000059.0,1000043.0,NULL,'[[1000947.0,1002846.0,1,"gpu",0]]',1002846.0,'none','{"code":"paused","job":"0000000006","gpus":null,"until":1000947.0}',NULL,0,0,1000061.3,NULL,'cancelled in Slurm');
INSERT INTO "jobs" VALUES(4,4,'admitted',NULL,4,'mini','user1',0,'acct1','ef','train',1000060.0,'soft-deadline',1005060.0,100.0,'reject',90000,64,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','--throughput','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}',NULL,NULL,'/shared/4','#!/bin/bash
# it''s a script
true "$@"
','["--account=acct1","--time=60"]','["--data","a b"]','/home/user1',0,0,0.0,0.0,NULL,NULL,NULL,NULL,'[[1000947.3,1003766.8,4,"gpu",0]]',1003766.8,'safe','{"code":"waits","job":null,"gpus":null,"until":1000947.3}',NULL,0,0,NULL,NULL,'');
INSERT INTO "jobs" VALUES(5,5,'admitted',NULL,5,'mini','user1',0,'acct1','ef','train',1000060.0,'best-effort',NULL,0.0,'reject',900000,64,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','--throughput','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}',NULL,NULL,'/shared/5','#!/bin/bash
# it''s a script
true "$@"
','["--account=acct1","--time=60"]','["--data","a b"]','/home/user1',0,0,0.0,0.0,NULL,NULL,NULL,NULL,'[]',NULL,'none','{"code":"waits","job":null,"gpus":null,"until":null}',NULL,0,2,NULL,NULL,'');
INSERT INTO "jobs" VALUES(6,50,'running',NULL,6,'mini','user1',0,'acct1','ef','train',1000060.0,'deadline',1000990.0,0.0,'wait',79200,64,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','--throughput','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}',NULL,NULL,'/shared/6','#!/bin/bash
# it''s a script
true "$@"
','["--account=acct1","--time=60"]','["--data","a b"]','/home/user1',0,1,7290.0,0.0,90.0,1000148.3,1000062.3,'{"block":{"gpu_type":"gpu","nodes":["n1","n2","n3","n4"],"gpus_per_node":4,"first_gpu":0},"since":1000060.0,"trains_from":1000067.0}','[[1000121.3,1000947.3,16,"gpu",0]]',1000947.3,'safe','{"code":"kept","job":null,"gpus":16,"until":null}',NULL,0,0,NULL,NULL,'');
CREATE TABLE plans (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        made_at REAL NOT NULL,
        next_change REAL
    ) STRICT
    ;
INSERT INTO "plans" VALUES(6,1000061.3,1000947.0);
INSERT INTO "plans" VALUES(7,1000121.3,1000947.3);
CREATE TABLE promises (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        given_at REAL NOT NULL,
        deadline REAL NOT NULL,
        grace REAL NOT NULL,
        finish REAL NOT NULL,
        share INTEGER NOT NULL CHECK (share > 0),
        curves TEXT NOT NULL CHECK (json_valid(curves)),
        overhead TEXT NOT NULL CHECK (json_valid(overhead)),
        outcome TEXT NOT NULL DEFAULT 'open',
        settled_at REAL CHECK ((settled_at IS NULL) = (outcome = 'open'))
    ) STRICT
    ;
INSERT INTO "promises" VALUES(1,1,1000000.0,1000600.0,0.0,1000328.0,1,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}','kept',1000042.0);
INSERT INTO "promises" VALUES(2,3,1000020.0,1003020.0,0.0,1.0020485555555555038e+06,1,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}','released',1000061.3);
INSERT INTO "promises" VALUES(3,4,1000060.0,1005060.0,100.0,1.00309672222222224808e+06,4,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}','open',NULL);
INSERT INTO "promises" VALUES(4,6,1000060.0,1000990.0,0.0,1000947.0,16,'{"gpu":[[1,10.0],[2,18.0],[4,32.0],[8,56.0],[16,90.0]]}','{"start":8.0,"reshape":10.0,"shrink":8.0,"per_doubling":0.0}','open',NULL);
CREATE TABLE transitions (
        what TEXT NOT NULL CHECK (what IN ('job', 'intent')),
        from_state TEXT NOT NULL,
        to_state TEXT NOT NULL,
        PRIMARY KEY (what, from_state, to_state)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "transitions" VALUES('intent','executed','abandoned');
INSERT INTO "transitions" VALUES('intent','executed','verified');
INSERT INTO "transitions" VALUES('intent','open','abandoned');
INSERT INTO "transitions" VALUES('intent','open','executed');
INSERT INTO "transitions" VALUES('intent','verified','abandoned');
INSERT INTO "transitions" VALUES('intent','verified','closed');
INSERT INTO "transitions" VALUES('job','admitted','cancelled');
INSERT INTO "transitions" VALUES('job','admitted','completed');
INSERT INTO "transitions" VALUES('job','admitted','failed');
INSERT INTO "transitions" VALUES('job','admitted','held');
INSERT INTO "transitions" VALUES('job','admitted','lost');
INSERT INTO "transitions" VALUES('job','admitted','running');
INSERT INTO "transitions" VALUES('job','admitted','starting');
INSERT INTO "transitions" VALUES('job','cancelled','new');
INSERT INTO "transitions" VALUES('job','completed','new');
INSERT INTO "transitions" VALUES('job','failed','new');
INSERT INTO "transitions" VALUES('job','held','admitted');
INSERT INTO "transitions" VALUES('job','held','cancelled');
INSERT INTO "transitions" VALUES('job','held','completed');
INSERT INTO "transitions" VALUES('job','held','failed');
INSERT INTO "transitions" VALUES('job','held','lost');
INSERT INTO "transitions" VALUES('job','held','new');
INSERT INTO "transitions" VALUES('job','held','paused');
INSERT INTO "transitions" VALUES('job','held','running');
INSERT INTO "transitions" VALUES('job','held','starting');
INSERT INTO "transitions" VALUES('job','held','waitlisted');
INSERT INTO "transitions" VALUES('job','lost','admitted');
INSERT INTO "transitions" VALUES('job','lost','cancelled');
INSERT INTO "transitions" VALUES('job','lost','completed');
INSERT INTO "transitions" VALUES('job','lost','failed');
INSERT INTO "transitions" VALUES('job','lost','new');
INSERT INTO "transitions" VALUES('job','lost','paused');
INSERT INTO "transitions" VALUES('job','lost','running');
INSERT INTO "transitions" VALUES('job','new','admitted');
INSERT INTO "transitions" VALUES('job','new','cancelled');
INSERT INTO "transitions" VALUES('job','new','completed');
INSERT INTO "transitions" VALUES('job','new','failed');
INSERT INTO "transitions" VALUES('job','new','held');
INSERT INTO "transitions" VALUES('job','new','lost');
INSERT INTO "transitions" VALUES('job','new','rejected');
INSERT INTO "transitions" VALUES('job','new','waitlisted');
INSERT INTO "transitions" VALUES('job','paused','cancelled');
INSERT INTO "transitions" VALUES('job','paused','completed');
INSERT INTO "transitions" VALUES('job','paused','failed');
INSERT INTO "transitions" VALUES('job','paused','held');
INSERT INTO "transitions" VALUES('job','paused','lost');
INSERT INTO "transitions" VALUES('job','paused','running');
INSERT INTO "transitions" VALUES('job','paused','starting');
INSERT INTO "transitions" VALUES('job','rejected','cancelled');
INSERT INTO "transitions" VALUES('job','running','cancelled');
INSERT INTO "transitions" VALUES('job','running','completed');
INSERT INTO "transitions" VALUES('job','running','failed');
INSERT INTO "transitions" VALUES('job','running','held');
INSERT INTO "transitions" VALUES('job','running','lost');
INSERT INTO "transitions" VALUES('job','running','paused');
INSERT INTO "transitions" VALUES('job','running','starting');
INSERT INTO "transitions" VALUES('job','running','stopping');
INSERT INTO "transitions" VALUES('job','starting','admitted');
INSERT INTO "transitions" VALUES('job','starting','cancelled');
INSERT INTO "transitions" VALUES('job','starting','completed');
INSERT INTO "transitions" VALUES('job','starting','failed');
INSERT INTO "transitions" VALUES('job','starting','held');
INSERT INTO "transitions" VALUES('job','starting','lost');
INSERT INTO "transitions" VALUES('job','starting','paused');
INSERT INTO "transitions" VALUES('job','starting','running');
INSERT INTO "transitions" VALUES('job','starting','stopping');
INSERT INTO "transitions" VALUES('job','stopping','cancelled');
INSERT INTO "transitions" VALUES('job','stopping','completed');
INSERT INTO "transitions" VALUES('job','stopping','failed');
INSERT INTO "transitions" VALUES('job','stopping','held');
INSERT INTO "transitions" VALUES('job','stopping','lost');
INSERT INTO "transitions" VALUES('job','stopping','paused');
INSERT INTO "transitions" VALUES('job','stopping','running');
INSERT INTO "transitions" VALUES('job','stopping','starting');
INSERT INTO "transitions" VALUES('job','waitlisted','admitted');
INSERT INTO "transitions" VALUES('job','waitlisted','cancelled');
INSERT INTO "transitions" VALUES('job','waitlisted','completed');
INSERT INTO "transitions" VALUES('job','waitlisted','failed');
INSERT INTO "transitions" VALUES('job','waitlisted','held');
INSERT INTO "transitions" VALUES('job','waitlisted','lost');
INSERT INTO "transitions" VALUES('job','waitlisted','rejected');
CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL CHECK (json_valid(reason)),
        share INTEGER NOT NULL,
        finish REAL,
        earliest_deadline REAL,
        explanation TEXT NOT NULL
    ) STRICT
    ;
INSERT INTO "verdicts" VALUES(1,1,1000000.0,'promised','{"code":"started","job":null,"gpus":1,"until":null}',1,1000328.0,NULL,'promised: 1 GPU are enough, predicted finish 1970-01-12 13:52:08 UTC');
INSERT INTO "verdicts" VALUES(2,2,1000020.0,'rejected','{"code":"too-large","job":null,"gpus":null,"until":null}',0,NULL,1.11195229817708325572e+06,'not promised: not even the empty cluster finishes it by its deadline; the earliest deadline that can be promised is 1970-01-13 20:52:32 UTC');
INSERT INTO "verdicts" VALUES(3,3,1000020.0,'promised','{"code":"started","job":null,"gpus":1,"until":null}',1,1.0020485555555555038e+06,NULL,'promised: 1 GPU are enough, predicted finish 1970-01-12 14:20:48 UTC');
INSERT INTO "verdicts" VALUES(4,4,1000060.0,'promised','{"code":"started","job":null,"gpus":4,"until":null}',4,1.00309672222222224808e+06,NULL,'promised: 4 GPUs are enough, predicted finish 1970-01-12 14:38:16 UTC');
INSERT INTO "verdicts" VALUES(5,5,1000060.0,'best-effort','{"code":"started","job":null,"gpus":null,"until":null}',0,NULL,NULL,'runs as best effort (starts on some GPUs)');
INSERT INTO "verdicts" VALUES(6,6,1000060.0,'promised','{"code":"started","job":null,"gpus":16,"until":null}',16,1000947.0,NULL,'promised: 16 GPUs are enough, predicted finish 1970-01-12 14:02:27 UTC');
CREATE UNIQUE INDEX jobs_by_slurm_job ON jobs (cluster, slurm_job_id)
    WHERE state NOT IN ('rejected', 'completed', 'failed', 'cancelled', 'lost')
    ;
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_slurm_id ON jobs (slurm_job_id);
CREATE TRIGGER jobs_begin BEFORE INSERT ON jobs WHEN NEW.state <> 'new'
    BEGIN SELECT RAISE(ABORT, 'forbidden transition: a job begins as new'); END;
CREATE TRIGGER jobs_move BEFORE UPDATE OF state ON jobs
    WHEN NEW.state <> OLD.state AND NOT EXISTS (
        SELECT 1 FROM transitions
        WHERE what = 'job' AND from_state = OLD.state AND to_state = NEW.state)
    BEGIN SELECT RAISE(ABORT, 'forbidden transition of a job'); END;
CREATE INDEX verdicts_by_job ON verdicts (job_id, id);
CREATE UNIQUE INDEX promises_open ON promises (job_id) WHERE outcome = 'open';
CREATE TRIGGER promises_stand BEFORE UPDATE ON promises
    WHEN OLD.outcome <> 'open' OR NEW.deadline <> OLD.deadline OR NEW.grace <> OLD.grace
        OR NEW.job_id <> OLD.job_id OR NEW.given_at <> OLD.given_at
    BEGIN SELECT RAISE(ABORT, 'a promise is not rewritten'); END;
CREATE UNIQUE INDEX intents_unfinished ON intents (job_id)
    WHERE state IN ('open', 'executed', 'verified')
    ;
CREATE TRIGGER intents_move BEFORE UPDATE OF state ON intents
    WHEN NEW.state <> OLD.state AND NOT EXISTS (
        SELECT 1 FROM transitions
        WHERE what = 'intent' AND from_state = OLD.state AND to_state = NEW.state)
    BEGIN SELECT RAISE(ABORT, 'forbidden transition of an intent'); END;
CREATE INDEX events_by_job ON events (job_id, id);
CREATE TRIGGER events_stand BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',6);
INSERT INTO "sqlite_sequence" VALUES('events',51);
INSERT INTO "sqlite_sequence" VALUES('verdicts',6);
INSERT INTO "sqlite_sequence" VALUES('promises',4);
INSERT INTO "sqlite_sequence" VALUES('plans',7);
INSERT INTO "sqlite_sequence" VALUES('intents',10);
COMMIT;
