//! Finds libalia by pkg-config or, with the feature `bundled`, builds it from the source tree around this crate.
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for name in ["build.rs", "src"] {
        println!("cargo:rerun-if-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        build();
    } else {
        println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
        link(&output(Command::new("pkg-config").args(["--libs", "alia"])));
    }
}

/// A static library without CUDA, which still needs the shared libraries that it was built with.
fn build() {
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../..");
    let built = PathBuf::from(env::var("OUT_DIR").unwrap());
    for folder in ["capi", "engine", "kernels", "CMakeLists.txt"] {
        println!("cargo:rerun-if-changed={}", source.join(folder).display());
    }
    output(
        Command::new("cmake")
            .arg("-S")
            .arg(&source)
            .arg("-B")
            .arg(&built)
            .args([
                "-DCMAKE_BUILD_TYPE=Release",
                "-DALIA_TESTS=OFF",
                "-DALIA_BENCHMARKS=OFF",
                "-DALIA_CUDA=OFF",
            ]),
    );
    output(
        Command::new("cmake")
            .arg("--build")
            .arg(&built)
            .args(["--target", "alia_static", "--parallel"]),
    );
    println!("cargo:rustc-link-search=native={}", built.join("capi").display());
    println!("cargo:rustc-link-lib=static=alia");
    let needed = output(Command::new("pkg-config").args(["--libs", "simdjson", "sentencepiece", "libutf8proc"]));
    link(&format!("{needed} -lstdc++ -lm -lpthread -ldl"));
}

fn link(flags: &str) {
    for flag in flags.split_whitespace() {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib=dylib={name}");
        }
    }
}

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        done.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}
