//! Compiles wire descriptions to Rust without `protoc`: `protox` reads them, `prost-build` makes the messages, `tonic-build`
//! the clients and servers. It has exactly the functions that the build scripts of etcd-client and `rr-proto` call, under
//! the name that etcd-client imports. It knows no particular description.

use std::io;
use std::path::Path;

use proc_macro2::TokenStream;
use prost_build::ServiceGenerator;
use tonic_build::CodeGenBuilder;

/// Where the generated clients find the codec.
const CODEC: &str = "tonic_prost::ProstCodec";
/// Clients and servers live in a module of their own, one below the messages.
const MESSAGES: &str = "super";

/// What is generated beside the messages: clients always, servers on request.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    server: bool,
}

/// Clients and servers.
#[must_use]
pub fn configure() -> Builder {
    Builder { server: true }
}

impl Builder {
    #[must_use]
    pub fn build_server(mut self, server: bool) -> Self {
        self.server = server;
        self
    }

    /// Compiles the files named, into cargo's output folder.
    ///
    /// # Errors
    /// If a file cannot be read or does not follow the language.
    pub fn compile_protos(self, protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> io::Result<()> {
        let files = protox::compile(protos, includes).map_err(io::Error::other)?;
        self.compile_fds(files)
    }

    /// Compiles what was parsed already.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn compile_fds(self, files: prost_types::FileDescriptorSet) -> io::Result<()> {
        let mut config = prost_build::Config::new();
        config.service_generator(Box::new(Generator { server: self.server }));
        config.compile_fds(files)
    }
}

struct Generator {
    server: bool,
}

impl ServiceGenerator for Generator {
    fn generate(&mut self, service: prost_build::Service, out: &mut String) {
        let service = Service::from(service);
        let mut code = CodeGenBuilder::new();
        code.emit_package(true).build_transport(true);
        out.push_str(&code.generate_client(&service, MESSAGES).to_string());
        if self.server {
            out.push_str(&code.generate_server(&service, MESSAGES).to_string());
        }
    }
}

struct Service {
    described: prost_build::Service,
    methods: Vec<Method>,
}

struct Method(prost_build::Method);

impl From<prost_build::Service> for Service {
    fn from(described: prost_build::Service) -> Self {
        let methods = described.methods.iter().cloned().map(Method).collect();
        Self { described, methods }
    }
}

impl tonic_build::Service for Service {
    type Comment = String;
    type Method = Method;

    fn name(&self) -> &str {
        &self.described.name
    }

    fn package(&self) -> &str {
        &self.described.package
    }

    fn identifier(&self) -> &str {
        &self.described.proto_name
    }

    fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn comment(&self) -> &[String] {
        &self.described.comments.leading
    }
}

impl tonic_build::Method for Method {
    type Comment = String;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn identifier(&self) -> &str {
        &self.0.proto_name
    }

    fn codec_path(&self) -> &str {
        CODEC
    }

    fn client_streaming(&self) -> bool {
        self.0.client_streaming
    }

    fn server_streaming(&self) -> bool {
        self.0.server_streaming
    }

    fn comment(&self) -> &[String] {
        &self.0.comments.leading
    }

    fn deprecated(&self) -> bool {
        self.0.options.deprecated.unwrap_or(false)
    }

    fn request_response_name(&self, messages: &str, _well_known: bool) -> (TokenStream, TokenStream) {
        (type_path(messages, &self.0.input_type), type_path(messages, &self.0.output_type))
    }
}

/// A message's type as seen from the module of a client.
fn type_path(messages: &str, name: &str) -> TokenStream {
    // Well-known types come out absolute, or as the unit type.
    let text = if name.starts_with("::") || name == "()" { name.to_owned() } else { format!("{messages}::{name}") };
    text.parse().expect("prost-build names every type as Rust does")
}
