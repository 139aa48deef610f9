//! Compiles the wire description to Rust. `protox` parses it in Rust, so that a plain `cargo build` works on a machine
//! without `protoc`. Beside the code it writes the list of all methods, from which the table of rights is held complete.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

const FILES: [&str; 7] = [
    "railroad/v1/approvals.proto",
    "railroad/v1/enrol.proto",
    "railroad/v1/fleet.proto",
    "railroad/v1/journal.proto",
    "railroad/v1/publish.proto",
    "railroad/v1/slots.proto",
    "railroad/v1/watch.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=railroad");
    let files = protox::compile(FILES, ["."])?;
    let mut methods = String::from("&[\n");
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                writeln!(methods, "    \"/{}.{}/{}\",", file.package(), service.name(), method.name())?;
            }
        }
    }
    methods.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names OUT_DIR")?);
    std::fs::write(out.join("methods.rs"), methods)?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
