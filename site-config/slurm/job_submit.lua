--[[
job_submit plugin for a site that runs ef-slurm.

In ef-slurm's partition every job starts held and only ef-slurm's release starts it. Its owner can
neither start nor reshape it behind the daemon's back (holding, requeueing and cancelling it stay
their right: the daemon follows). When they hold or release it, a comment tells the daemon, which
stops it with a checkpoint, or lets it go on. A plain sbatch, srun or salloc there is refused with
a sentence that points to ef-sbatch; arrays and heterogeneous jobs, which run more than one job's
worth under one submission, are refused as well. Coordinators of an account, whom Slurm lets act on
its members' jobs, may here cancel them and nothing else.

`ef-schedd setup --service` puts it beside slurm.conf with the site's names. By hand: copy it there, on
the host of slurmctld, set the names below, and add to slurm.conf
    JobSubmitPlugins=lua
A site that has a job_submit.lua already calls the functions below from its own.
--]]

-- The partitions that ef-slurm schedules ([slurm] partition in ef-slurm.toml).
local PARTITIONS = { ef = true }
-- The user that ef-schedd runs as ([daemon] user in ef-slurm.toml).
local SERVICE_USER = "ef-slurm"

-- Rises with each change of what is below: whoever is refused is told it, and so `ef-schedd check` sees
-- which release's plugin slurmctld has.
local REVISION = 2

-- Whoever else may act on everybody's jobs: operators and administrators of Slurm.
local OPERATORS = { "root", "slurm", SERVICE_USER }

-- Every batch script that ef-sbatch makes sets this variable.
local MARK = "EF_STATE_DIR"

-- What a release and a hold by the owner leave on the job (ef_slurm/slurm/types.py knows them).
local RELEASED = "ef-slurm: released by its owner"
local HELD = "ef-slurm: held by its owner"

local POINTER = "is scheduled by ef-slurm. Submit with:"
    .. " ef-sbatch --deadline WHEN --iterations N --global-batch-size B SCRIPT"
    .. " (see ef-sbatch --help; job_submit.lua " .. REVISION .. ")"

-- What an owner may not change, as the fields of a job update are called in Lua: what was promised
-- was promised to the job as it was submitted.
local SHAPE = {
    "partition", "reservation", "min_nodes", "max_nodes", "num_tasks", "min_cpus", "max_cpus",
    "ntasks_per_node", "ntasks_per_socket", "ntasks_per_gpu", "cpus_per_task", "pn_min_cpus",
    "sockets_per_node", "cores_per_socket", "threads_per_core", "req_nodes", "exc_nodes",
    "features", "tres_per_job", "tres_per_node", "tres_per_socket", "tres_per_task", "gres",
    "cpus_per_tres", "time_limit", "time_min", "begin_time", "deadline", "requeue", "shared",
    "contiguous", "qos", "dependency", "account", "pn_min_memory", "mem_per_tres",
    "pn_min_tmp_disk", "req_switch", "wait4switch", "licenses", "burst_buffer", "prefer",
    "cluster_features", "delay_boot", "wckey", "work_dir", "std_out", "std_err", "std_in",
}

-- Slurm's mark for "not given" is as wide as the field: 254 and 65534, the marks of narrower ones, are
-- values of these.
local WIDE = {}
for _, field in ipairs({
    "min_nodes", "max_nodes", "num_tasks", "min_cpus", "max_cpus", "time_limit", "time_min",
    "begin_time", "deadline", "pn_min_memory", "pn_min_tmp_disk", "delay_boot", "priority",
    "req_switch", "wait4switch",
}) do
    WIDE[field] = true
end

local INFINITE = slurm.INFINITE or 4294967295

-- 22.05 does not pass our sentences on to scontrol: let it at least say what the matter is.
local DENIED = slurm.ESLURM_ACCESS_DENIED or slurm.ERROR

-- Numbers of the operators, once; slurmctld knows users by number here.
local operator_uids = { [0] = true }
for _, name in ipairs(OPERATORS) do
    local answer = io.popen("id -u -- '" .. name .. "' 2>/dev/null")
    local uid = answer and tonumber(answer:read("*l"))
    if answer then
        answer:close()
    end
    if uid then
        operator_uids[uid] = true
    else
        slurm.log_info("ef-slurm: job_submit.lua: there is no user %s", name)
    end
end

-- A comment with a mark in place of what ef-slurm had written behind the owner's words.
local function marked(comment, mark)
    local words = comment or ""
    local own = string.match(words, "^(.*); ef%-slurm: .*$")
    if own == nil and string.sub(words, 1, 10) ~= "ef-slurm: " then
        own = words
    end
    if own == nil or own == "" then
        return mark
    end
    return own .. "; " .. mark
end

-- Whether a field of a job, or of an update, has a value.
local function given(job_desc, field)
    local value = job_desc[field]
    if value == nil or value == "" or value == slurm.NO_VAL or value == slurm.NO_VAL64 then
        return false
    end
    return WIDE[field] or value ~= slurm.NO_VAL16
end

-- The partition of ef-slurm's that a job asks for, or nil.
local function ours(wanted, part_list)
    if wanted == nil or wanted == "" then
        for name, partition in pairs(part_list) do
            if PARTITIONS[name] and partition.flag_default == 1 then
                return name
            end
        end
        return nil
    end
    for name in string.gmatch(wanted, "[^,]+") do
        if PARTITIONS[name] then
            return name
        end
    end
    return nil
end

function slurm_job_submit(job_desc, part_list, submit_uid)
    local partition = ours(job_desc.partition, part_list)
    if partition == nil then
        return slurm.SUCCESS
    end
    local script = job_desc.script
    if script == nil or not string.find(script, MARK, 1, true) then
        slurm.log_user("partition %s %s", partition, POINTER)
        return slurm.ERROR
    end
    if string.find(job_desc.partition or partition, ",", 1, true) then
        slurm.log_user("partition %s of ef-slurm cannot be one of several", partition)
        return slurm.ERROR
    end
    if given(job_desc, "array_inx") or given(job_desc, "het_job_offset")
        or given(job_desc, "pack_job_offset") then
        slurm.log_user("partition %s of ef-slurm takes one job at a time: no arrays and no"
            .. " heterogeneous jobs", partition)
        return slurm.ERROR
    end
    job_desc.priority = 0
    return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
    if operator_uids[modify_uid] or job_rec.user_name == SERVICE_USER then
        return slurm.SUCCESS
    end
    if not PARTITIONS[job_rec.partition] then
        local target = given(job_desc, "partition") and ours(job_desc.partition, part_list)
        if target then
            slurm.log_user("partition %s %s", target, POINTER)
            return DENIED
        end
        return slurm.SUCCESS
    end
    if modify_uid ~= job_rec.user_id then -- a coordinator of its account
        slurm.log_user("job %s is scheduled by ef-slurm: only its owner and operators may change it",
            job_rec.job_id)
        return DENIED
    end
    -- First: one update may hold a job and change it.
    for _, field in ipairs(SHAPE) do
        if given(job_desc, field) and not (field == "begin_time" and job_desc[field] == 0) then
            slurm.log_user("job %s gets its nodes, GPUs and times from ef-slurm (%s). What it may"
                .. " have otherwise: ef-scontrol update %s deadline=WHEN max_gpus=N iterations=N",
                job_rec.job_id, field, job_rec.job_id)
            return DENIED
        end
    end
    local pending = job_rec.job_state == nil or job_rec.job_state % 256 == 0
    if job_desc.priority == INFINITE and pending then -- scontrol release
        job_desc.priority = slurm.NO_VAL
        job_desc.comment = marked(job_rec.comment, RELEASED)
        slurm.log_user("job %s is started by ef-slurm, which is told: see ef-squeue --explain %s",
            job_rec.job_id, job_rec.job_id)
        return slurm.SUCCESS
    end
    if job_desc.priority == 0 then -- scontrol hold
        job_desc.comment = marked(job_rec.comment, HELD)
        if not pending then
            job_desc.priority = slurm.NO_VAL
        end
        slurm.log_user("job %s: ef-slurm is told, saves it if it runs, and keeps it until"
            .. " ef-scontrol release %s", job_rec.job_id, job_rec.job_id)
        return slurm.SUCCESS
    end
    if given(job_desc, "priority") then
        slurm.log_user("job %s is started by ef-slurm: see ef-squeue --explain %s",
            job_rec.job_id, job_rec.job_id)
        return DENIED
    end
    return slurm.SUCCESS
end

slurm.log_info("ef-slurm: job_submit.lua loaded")
return slurm.SUCCESS
