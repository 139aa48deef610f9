//! Compiles `rr-hook` and leaves it where `src/hookbin.rs` embeds it, so that installing `rrctl` brings the hook along.
//! Owns when that happens and what a user is told; how it is compiled is in `hook/static_build.rs`.

#[path = "../hook/static_build.rs"]
mod static_build;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use static_build::Linkage;

fn main() {
    let hook = PathBuf::from(required("CARGO_MANIFEST_DIR")).join("../hook");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", hook.join("src").display());
    println!("cargo::rerun-if-changed={}", hook.join("static_build.rs").display());
    let rustc = required("RUSTC");
    let target = required("TARGET").into_string().expect("Cargo names targets in plain letters");
    let linker = env::var_os("RUSTC_LINKER");
    let out = PathBuf::from(required("OUT_DIR")).join("rr-hook");
    match static_build::compile(&rustc, &target, linker.as_deref(), &hook.join("src/main.rs"), &out, &[]) {
        Ok(Linkage::StaticMusl) => {}
        Ok(Linkage::StaticGlibc) => advise(&target, "works, but starts several times slower than one without glibc"),
        Ok(Linkage::Dynamic) => advise(&target, "is not static: it starts slower and needs this system's C library"),
        Err(failures) => panic!("rr-hook cannot be compiled:\n{failures}"),
    }
}

fn advise(target: &str, what: &str) {
    if target.contains("-linux-gnu") {
        let musl = target.replace("-linux-gnu", "-linux-musl");
        println!("cargo::warning=the embedded rr-hook {what}; `rustup target add {musl}` gives the quick one");
    }
}

fn required(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("Cargo sets {name} for every build script"))
}
