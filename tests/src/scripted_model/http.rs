//! As much HTTP/1.1 as an agent speaks to its model: one request, one answer, connection closed.
//!
//! Knows nothing of models or scripts. Bodies come with a length; a chunked one is refused loudly.
//! The path goes back to the parent module.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Agents send a dozen short headers.
const HEAD_MAX: u64 = 64 * 1024;
/// A long conversation with all tool descriptions stays below 1 MiB.
const BODY_MAX: usize = 32 * 1024 * 1024;

pub(super) struct Request {
    pub(super) method: String,
    /// Without its query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

pub(super) struct Response {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Response {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, kind: "application/json", body: body.to_string() }
    }

    pub(super) fn events(body: String) -> Self {
        Self { status: 200, kind: "text/event-stream", body }
    }
}

/// Nothing if the peer connected and left, as agents do to warm up a connection.
pub(super) async fn read_request(stream: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
    let mut head = (&mut *stream).take(HEAD_MAX);
    let mut line = String::new();
    if head.read_line(&mut line).await.context("read the request line")? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        bail!("not a request line: {line:?}");
    };
    let (method, path) = (method.to_owned(), target.split('?').next().unwrap_or(target).to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        ensure!(head.read_line(&mut header).await.context("read a header")? > 0, "the head ends too early");
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().context("read content-length")?,
            "transfer-encoding" => bail!("bodies without a length are not read here: {}", header.trim_end()),
            _ => {}
        }
    }
    ensure!(length <= BODY_MAX, "a body of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.context("read the body")?;
    Ok(Some(Request { method, path, body }))
}

pub(super) async fn write_response(stream: &mut BufReader<TcpStream>, response: &Response) -> Result<()> {
    let Response { status, kind, body } = response;
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.context("write the head")?;
    stream.write_all(body.as_bytes()).await.context("write the body")?;
    stream.shutdown().await.context("close the connection")
}
