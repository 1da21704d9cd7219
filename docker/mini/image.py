"""Images: of every mini-Slurm host, and of where packages are built. Base, packages, users."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mini import wheels
from mini.dockerd import Docker
from mini.process import install_packages, is_root, last_words, run, run_logged, say
from mini.settings import DOCKER_DIR, SUITES, UserError, check_space, lock, state_root

PULL_TIMEOUT_SECONDS = 90
BUILD_SPACE_GIB = 5
DEFAULT_MIRROR = "http://deb.debian.org/debian"
# Debian compiles its own packages; importing torch uncompiled takes half a minute. Its templates
# cannot be compiled.
COMPILE = "RUN python3 -m compileall -qq /usr/local/lib/python3*/dist-packages || true\n"
CERTIFICATES = Path("/usr/local/share/ca-certificates")


@dataclass(frozen=True)
class Recipe:
    """A kind of image: the repository of its name, and the list of its packages."""

    repository: str
    packages: Path


HOST = Recipe("minislurm", DOCKER_DIR / "packages.txt")


def image_name(suite: str, recipe: Recipe = HOST) -> str:
    """The tag changes with whatever goes into the image."""
    files = (DOCKER_DIR / "Dockerfile", recipe.packages, DOCKER_DIR / "wheels.txt")
    parts = b"".join(path.read_bytes() for path in files)
    if lacks_of(suite, recipe):
        parts += wheels.NEWER_TORCH.read_bytes() + COMPILE.encode()
    return f"{recipe.repository}:{suite}-{hashlib.sha256(parts).hexdigest()[:12]}"


def lacks_of(suite: str, recipe: Recipe) -> frozenset[str]:
    """Packages of its list that pip fetches instead."""
    return SUITES[suite].lacks.intersection(recipe.packages.read_text().splitlines())


def ensure(docker: Docker, suite: str, recipe: Recipe = HOST) -> str:
    """The name of the image for a suite, built first where it is missing."""
    name = image_name(suite, recipe)
    with lock("image"):
        if docker.succeeds("image", "inspect", name):
            return name
        check_space(state_root(), BUILD_SPACE_GIB, "building the image")
        started = time.monotonic()
        base = ensure_base(docker, suite)
        log = state_root() / f"build-{recipe.repository}-{suite}.log"
        say(f"building the image {name} (follow it with: tail -f {log})")
        with tempfile.TemporaryDirectory(prefix="minislurm-") as context:
            write_context(Path(context), suite, recipe)
            # The build uses the host's network: our own engine gives containers no way out.
            options = ["--network", "host", "--build-arg", f"BASE={base}", "--tag", name]
            run_logged(["docker", "build", *options, context], log, env=docker.environment)
        say(f"image ready after {time.monotonic() - started:.0f} s")
        remove_others(docker, name)
    return name


def remove_others(docker: Docker, current: str) -> None:
    """Drop images that an earlier Dockerfile made (those in use stay)."""
    kind, _, _ = current.rpartition("-")
    repository, _, _ = kind.partition(":")
    tags = docker.run("images", "--format", "{{.Repository}}:{{.Tag}}", repository).split()
    for tag in tags:
        if tag.startswith(f"{kind}-") and tag != current:
            docker.run("rmi", tag, check=False)


def ensure_base(docker: Docker, suite: str) -> str:
    own = f"minislurm-base:{suite}"
    for name in (f"debian:{suite}", own):
        if docker.succeeds("image", "inspect", name):
            return name
    say(f"pulling debian:{suite}")
    try:
        docker.run("pull", f"debian:{suite}", timeout=PULL_TIMEOUT_SECONDS)
        return f"debian:{suite}"
    except UserError as error:
        say(f"no registry ({error}); making the base image with debootstrap")
    bootstrap(docker, suite, own)
    return own


def bootstrap(docker: Docker, suite: str, name: str) -> None:
    if not is_root():
        raise UserError(f"debian:{suite} cannot be pulled, and debootstrap needs root: use sudo")
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not (shutil.which("debootstrap") and keyring.exists()):
        install_packages(
            ["debootstrap", "debian-archive-keyring"], "the base image", state_root() / "apt.log"
        )
    with tempfile.TemporaryDirectory(prefix="base-", dir=state_root()) as directory:
        root = Path(directory) / "root"
        run_logged(
            ["debootstrap", "--variant=minbase", suite, str(root), host_mirror()],
            state_root() / f"debootstrap-{suite}.log",
        )
        for junk in (root / "var/cache/apt/archives").glob("*.deb"):
            junk.unlink()
        tar = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        imported = subprocess.run(
            ["docker", "import", "-", name],
            stdin=tar.stdout,
            env=os.environ | docker.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if tar.wait() or imported.returncode:
            raise UserError(f"docker import of {name} failed: {last_words(imported.stderr)}")


def host_mirror() -> str:
    """The Debian mirror that this host uses, where it is a Debian."""
    release = Path("/etc/os-release")
    if release.exists() and "ID=debian" in release.read_text().splitlines():
        for site in host_sources():
            return site
    return DEFAULT_MIRROR


def host_sources() -> list[str]:
    """Mirrors of Debian's main archive in this host's apt configuration, in order."""
    lines = run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)"], check=False).stdout
    sites = dict.fromkeys(line.split()[0] for line in lines.splitlines() if line.strip())
    return [site for site in sites if site.rstrip("/").endswith("/debian")]


def write_context(context: Path, suite: str, recipe: Recipe) -> None:
    """What the Dockerfile copies: the package list, and files for the image's own tree.

    Those are this host's way to its mirror, and Python packages that the release lacks.
    """
    lacks = lacks_of(suite, recipe)
    dockerfile = (DOCKER_DIR / "Dockerfile").read_text()
    (context / "Dockerfile").write_text(dockerfile + (COMPILE if lacks else ""))
    packages = recipe.packages.read_text().splitlines()
    kept = [name for name in packages if name not in lacks]
    (context / "packages.txt").write_text("".join(f"{name}\n" for name in kept))
    root = context / "root"
    if lacks:
        python = SUITES[suite].python
        site = root / f"usr/local/lib/python{python}/dist-packages"
        shutil.copytree(wheels.fetch(lacks, python), site)
    write_mirror(root, suite)


def write_mirror(root: Path, suite: str) -> None:
    """Files that give a host of a suite this machine's way to its mirror."""
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)
    (root / "etc/apt/apt.conf.d/99minislurm").write_text(host_apt_options())
    mirror = host_mirror()
    if mirror != DEFAULT_MIRROR:
        # Both places where a base image may name its mirror.
        (root / "etc/apt/sources.list").write_text("")
        (root / "etc/apt/sources.list.d").mkdir()
        (root / "etc/apt/sources.list.d/debian.sources").write_text(
            f"Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        )
    if CERTIFICATES.is_dir():
        target = root / "usr/local/share/ca-certificates"
        shutil.copytree(CERTIFICATES, target)
        # apt reads one bundle; ca-certificates is not there yet to make it.
        bundle = Path("/etc/ssl/certs/ca-certificates.crt")
        if bundle.exists():
            (root / "tmp").mkdir()
            shutil.copyfile(bundle, root / "tmp/minislurm-ca.crt")
            with (root / "etc/apt/apt.conf.d/99minislurm").open("a") as options:
                options.write('Acquire::https::CAInfo "/tmp/minislurm-ca.crt";\n')


def host_apt_options() -> str:
    """This host's proxies and checks (the Acquire options that say how to reach a mirror)."""
    dump = run(["apt-config", "dump"], check=False).stdout if shutil.which("apt-config") else ""
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check", "Acquire::Retries")
    return "".join(
        f"{line}\n" for line in dump.splitlines() if line.startswith(wanted) and '""' not in line
    )
