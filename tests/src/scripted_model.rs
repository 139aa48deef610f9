//! A model on loopback that plays scripts: what it answers is fixed, what it is told is kept.
//!
//! Owns the server, the scripts and the log of requests. Holds no conversation: each request carries its own
//! position, so agents may retry, resume and run in parallel. The wire format is in `anthropic`.

mod anthropic;
mod http;
mod script;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use self::http::{Request, Response};
use self::script::Answer;
pub use self::script::{Gate, Latch, Script, Step};
use crate::wait::wait_until;

/// What an agent told the model about one of its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    pub tool_use_id: String,
    pub is_error: bool,
    /// With everything that hooks added to it.
    pub text: String,
}

/// One request that played a script, in the order of arrival.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub script: String,
    /// The answer it was about to get.
    pub step: usize,
    pub tools_offered: Vec<String>,
    /// Of the whole conversation so far.
    pub tool_results: Vec<ToolResult>,
    /// Of the whole conversation so far; context given by hooks is among them.
    pub user_texts: Vec<String>,
}

/// Serves until dropped. Clones of its [`Log`] go on telling what was seen.
pub struct ScriptedModel {
    url: String,
    log: Log,
    server: JoinHandle<()>,
}

/// What the model knows: the scripts it plays and the requests it got.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    scripts: HashMap<String, Script>,
    exchanges: Vec<Exchange>,
    complaints: Vec<String>,
}

impl ScriptedModel {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on loopback")?;
        let url = format!("http://{}", listener.local_addr().context("read the own address")?);
        let log = Log::default();
        let server = tokio::spawn(serve(listener, log.clone()));
        Ok(Self { url, log, server })
    }

    /// What agents get as the address of their model.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a script, or replaces the one of the same name.
    pub fn play(&self, script: Script) {
        self.log.known().scripts.insert(script.name.clone(), script);
    }

    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// What `script` was told about each of its calls, in their order; the latest wording of each.
    #[must_use]
    pub fn tool_results(&self, script: &str) -> Vec<ToolResult> {
        let mut results: Vec<ToolResult> = Vec::new();
        for told in self.log.told(script, |exchange| exchange.tool_results) {
            match results.iter_mut().find(|known| known.tool_use_id == told.tool_use_id) {
                Some(known) => *known = told,
                None => results.push(told),
            }
        }
        results
    }

    /// All words said to `script`, each once.
    #[must_use]
    pub fn user_texts(&self, script: &str) -> Vec<String> {
        self.log.told(script, |exchange| exchange.user_texts)
    }

    /// Requests that no script could answer. A test with any has not shown what it thinks it has.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.log.known().complaints.clone()
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Log {
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.known().exchanges.clone()
    }

    /// Whether `script` was asked for its answer number `step`: the call before it is over by then.
    #[must_use]
    pub fn reached(&self, script: &str, step: usize) -> bool {
        self.known().exchanges.iter().any(|exchange| exchange.script == script && exchange.step >= step)
    }

    /// Holds an answer of one script back until another has come to `step`.
    pub fn gate(&self, script: &str, step: usize) -> Gate {
        let (log, name) = (self.clone(), script.to_owned());
        Gate::when(format!("script {script} is at step {step}"), move || log.reached(&name, step))
    }

    fn told<T: PartialEq>(&self, script: &str, of: impl Fn(Exchange) -> Vec<T>) -> Vec<T> {
        let mut told = Vec::new();
        for item in self.exchanges().into_iter().filter(|exchange| exchange.script == script).flat_map(of) {
            if !told.contains(&item) {
                told.push(item);
            }
        }
        told
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nothing panics while holding the log")
    }

    fn refuse(&self, complaint: String) -> Response {
        let response = Response::json(400, &anthropic::error(&complaint));
        self.known().complaints.push(complaint);
        response
    }
}

/// The connections end with this task.
async fn serve(listener: TcpListener, log: Log) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(attend(stream, log.clone())); }
                Err(error) => log.known().complaints.push(format!("accept a connection: {error}")),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn attend(stream: TcpStream, log: Log) {
    let mut stream = BufReader::new(stream);
    let request = match http::read_request(&mut stream).await {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(error) => return log.known().complaints.push(format!("{error:#}")),
    };
    let response = answer(&request, &log).await;
    // An agent that was killed no longer reads its answer: that is what such a test wants.
    let _ = http::write_response(&mut stream, &response).await;
}

async fn answer(request: &Request, log: &Log) -> Response {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/v1/messages") => message(&body, log).await,
        ("POST", "/v1/messages/count_tokens") => Response::json(200, &json!({"input_tokens": 100})),
        (method, path) => log.refuse(format!("no such endpoint: {method} {path}")),
    }
}

async fn message(body: &Value, log: &Log) -> Response {
    let asked = anthropic::read(body);
    if asked.tools.is_empty() {
        // A title, a summary, a topic check: nothing that a script is about.
        return reply(body, "aside", 0, &Answer::Words("Fine.".to_owned()));
    }
    let Some(name) = asked.script else {
        return log.refuse(format!("the prompt names no script: {:?}", asked.user_texts));
    };
    let step = asked.step;
    let Some(turn) = log.known().scripts.get(&name).map(|script| script.turn(step)) else {
        return log.refuse(format!("there is no script {name}"));
    };
    log.known().exchanges.push(Exchange {
        script: name.clone(),
        step,
        tools_offered: asked.tools,
        tool_results: asked.tool_results,
        user_texts: asked.user_texts,
    });
    for gate in &turn.gates {
        if let Err(error) = wait_until(&gate.what, gate.limit, || (gate.open)()).await {
            return log.refuse(format!("script {name} at step {step}: {error}"));
        }
    }
    reply(body, &name, step, &turn.answer)
}

fn reply(body: &Value, script: &str, step: usize, answer: &Answer) -> Response {
    let model = &body["model"];
    if body["stream"] == true {
        Response::events(anthropic::events(model, script, step, answer))
    } else {
        Response::json(200, &anthropic::message(model, script, step, answer))
    }
}
