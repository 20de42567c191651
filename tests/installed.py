#!/usr/bin/env python3
"""installed.py BUILD MODEL: installs the library into a folder of its own, and builds and runs a program from there in four ways:
shared and static, by pkg-config and by find_package."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

program = r"""
#include <alia.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char** argv) {
    alia_model* model;
    int32_t bos;
    if (argc != 2 || alia_check() || alia_model_open(argv[1], strlen(argv[1]), NULL, &model)) return puts(alia_error_message()), 1;
    alia_model_bos(model, &bos);
    printf("%s %d\n", alia_version(), bos);
    return alia_model_free(model);
}
"""
project = """
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(alia REQUIRED)
add_executable(by_shared main.c)
target_link_libraries(by_shared alia::alia)
add_executable(by_static main.c)
target_link_libraries(by_static alia::static)
"""


def run(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **options).stdout


def main(build, model):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        prefix, source = folder / "prefix", folder / "source"
        run("cmake", "--install", build, "--prefix", prefix)
        libraries = next(prefix.rglob("libalia.so")).parent
        source.mkdir()
        (source / "main.c").write_text(program)
        (source / "CMakeLists.txt").write_text(project)
        environment = os.environ | {"PKG_CONFIG_PATH": str(libraries / "pkgconfig"), "LD_LIBRARY_PATH": str(libraries)}
        flags = run("pkg-config", "--cflags", "--libs", "alia", env=environment).split()
        run("cc", source / "main.c", "-o", source / "shared", *flags)
        whole = run("pkg-config", "--static", "--cflags", "--libs", "alia", env=environment).split()
        whole = [f"{libraries}/libalia.a" if f == "-lalia" else f for f in whole]
        run("cc", source / "main.c", "-o", source / "static", *whole)
        run("cmake", "-S", source, "-B", folder / "made", f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", folder / "made")
        answers = {run(p, model, env=environment) for p in
                   (source / "shared", source / "static", folder / "made" / "by_shared", folder / "made" / "by_static")}
        assert len(answers) == 1, answers
        print("four programs from the installed tree:", answers.pop().strip())


main(*sys.argv[1:])
