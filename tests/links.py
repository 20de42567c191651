#!/usr/bin/env python3
"""What the library asks of a machine: links.py LIBRARY

It must load where there is no driver and no toolkit: it needs none of CUDA's libraries, nor a function of theirs."""
import re
import subprocess
import sys

vendor = re.compile(r"lib(cuda|cudart|cublas|cublasLt|nvrtc|nvJitLink)\.so")


def needed(dynamic):
    return re.findall(r"\(NEEDED\)[^\[]*\[([^\]]+)\]", dynamic)


def link_problems(libraries, undefined):
    for name in libraries:
        if vendor.match(name):
            yield f"needs {name}: it would not load without CUDA installed"
    for name in undefined:
        if re.match(r"cu(da|blas)?[A-Z]\w+$", name):
            yield f"leaves {name} to others"


def self_test():
    line = " 0x1 (NEEDED)   Shared library: [libcudart.so.13]\n 0x1 (NEEDED) Shared library: [libc.so.6]\n"
    assert needed(line) == ["libcudart.so.13", "libc.so.6"]
    assert list(link_problems(needed(line), [])) and list(link_problems([], ["cuInit"])) and list(link_problems([], ["cudaMalloc"]))
    assert not list(link_problems(["libc.so.6"], ["curl_easy_init", "malloc"]))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main(library):
    self_test()
    undefined = [line.split()[0].split("@")[0] for line in output("nm", "--dynamic", "--undefined-only", "--format=posix", library).splitlines()]
    libraries = needed(output("readelf", "--dynamic", "--wide", library))
    problems = [f"{library} {p}" for p in link_problems(libraries, undefined)]
    if "libc.so.6" not in libraries or "malloc" not in undefined:
        problems.append("nothing was looked at")
    print("\n".join(problems) or f"{len(libraries)} libraries, none of CUDA's")
    return bool(problems)


sys.exit(main(*sys.argv[1:]))
