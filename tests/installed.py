#!/usr/bin/env python3
"""installed.py BUILD MODEL: installs the library into a folder of its own, and builds and runs a program from there in six ways: C,
shared and static, by pkg-config and by find_package; C++, by both."""
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
program_cpp = r"""
#include <alia.hpp>
#include <cstdio>
int main(int argc, char** argv) try {
    if (argc != 2) return 2;
    const alia::model model = alia::model::open(argv[1]);
    std::printf("%s %d\n", alia_version(), model.bos().value());
} catch (const alia::error& e) {
    return std::puts(e.what()), 1;
}
"""
project = """
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
find_package(alia REQUIRED)
add_executable(by_shared main.c)
target_link_libraries(by_shared alia::alia)
add_executable(by_static main.c)
target_link_libraries(by_static alia::static)
add_executable(in_cpp main.cpp)
target_compile_features(in_cpp PRIVATE cxx_std_20)
target_link_libraries(in_cpp alia::alia)
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
        (source / "main.cpp").write_text(program_cpp)
        (source / "CMakeLists.txt").write_text(project)
        environment = os.environ | {"PKG_CONFIG_PATH": str(libraries / "pkgconfig"), "LD_LIBRARY_PATH": str(libraries)}
        flags = run("pkg-config", "--cflags", "--libs", "alia", env=environment).split()
        run("cc", source / "main.c", "-o", source / "shared", *flags)
        run("c++", "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", source / "main.cpp", "-o", source / "cpp", *flags)
        whole = run("pkg-config", "--static", "--cflags", "--libs", "alia", env=environment).split()
        whole = [f"{libraries}/libalia.a" if f == "-lalia" else f for f in whole]
        run("cc", source / "main.c", "-o", source / "static", *whole)
        run("cmake", "-S", source, "-B", folder / "made", f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", folder / "made")
        programs = [source / name for name in ("shared", "static", "cpp")]
        programs += [folder / "made" / name for name in ("by_shared", "by_static", "in_cpp")]
        answers = {run(p, model, env=environment) for p in programs}
        assert len(answers) == 1, answers
        print(f"{len(programs)} programs from the installed tree:", answers.pop().strip())


main(*sys.argv[1:])
