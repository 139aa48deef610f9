//! Compiles the wire description to Rust. `protox` parses it in Rust, so that a plain `cargo build` works on a machine
//! without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=railroad");
    let files = protox::compile(["railroad/v1/fleet.proto", "railroad/v1/publish.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
