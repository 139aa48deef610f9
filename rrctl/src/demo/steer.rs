//! An agent on a string: each line on standard input is one thing to do, each is answered with one line. Owns that little
//! language; what the words lead to is `agent`'s. It ends when its input ends, without a farewell, as a closed terminal does.
//!
//! `{"event":"Stop","fields":{}}` · `{"pre":{"tool":"Write","input":{}}}` · `{"act":ID}` · `{"post":ID}` ·
//! `{"tool":{"tool":"Write","input":{}}}` = pre, then act and post if nothing objects. `ID` is what `pre` answered; `null`
//! means the latest. Answers: `decision` (`pass`, `deny`), `reason`, `context`, `stop`, `id`, and after acting `ok`, `output`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use super::agent::{Agent, Call, Done};
use super::hook::Heard;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    Pre(Asked),
    Act(Option<String>),
    Post(Option<String>),
    Tool(Asked),
    #[serde(untagged)]
    Event {
        event: String,
        #[serde(default)]
        fields: Value,
    },
}

#[derive(Debug, Deserialize)]
struct Asked {
    tool: String,
    #[serde(default)]
    input: Value,
}

/// A call that was let through, between its steps.
struct Open {
    call: Call,
    done: Option<Done>,
}

/// Follows orders until there are no more.
pub(crate) fn run(agent: &mut Agent, orders: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut open = BTreeMap::new();
    for line in orders.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(order) => obey(agent, order, &mut open)?,
            Err(error) => json!({"error": format!("not an order: {error}")}),
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

fn obey(agent: &mut Agent, order: Order, open: &mut BTreeMap<String, Open>) -> io::Result<Value> {
    match order {
        Order::Event { event, fields } => Ok(heard(&agent.event(&event, &fields)?)),
        Order::Pre(asked) => pre(agent, asked, open).map(|(_, answer)| answer),
        Order::Act(id) => Ok(act(agent, id, open)),
        Order::Post(id) => post(agent, id, open),
        Order::Tool(asked) => {
            let (id, mut answer) = pre(agent, asked, open)?;
            if answer["decision"] == "pass" {
                let acted = act(agent, Some(id.clone()), open);
                let reported = post(agent, Some(id), open)?;
                merge(&mut answer, &acted);
                let context: Vec<&str> = [&answer, &reported].iter().filter_map(|a| a["context"].as_str()).collect();
                answer["context"] = if context.is_empty() { Value::Null } else { json!(context.join("\n")) };
            }
            Ok(answer)
        }
    }
}

fn pre(agent: &mut Agent, asked: Asked, open: &mut BTreeMap<String, Open>) -> io::Result<(String, Value)> {
    let call = agent.call(&asked.tool, asked.input);
    let said = agent.before(&call)?;
    let id = call.id.clone();
    let mut answer = heard(&said);
    answer["id"] = json!(id);
    if said.denied.is_none() {
        open.insert(id.clone(), Open { call, done: None });
    }
    Ok((id, answer))
}

fn act(agent: &Agent, id: Option<String>, open: &mut BTreeMap<String, Open>) -> Value {
    let Some(found) = latest(id, open) else {
        return json!({"error": "no call was let through"});
    };
    let done = agent.act(&found.call);
    let answer = match &done.result {
        Ok(output) => json!({"ok": true, "output": output}),
        Err(error) => json!({"ok": false, "output": error.to_string()}),
    };
    found.done = Some(done);
    answer
}

fn post(agent: &Agent, id: Option<String>, open: &mut BTreeMap<String, Open>) -> io::Result<Value> {
    let Some(Open { call, done: Some(done) }) = latest(id, open) else {
        return Ok(json!({"error": "no call was made"}));
    };
    let answer = heard(&agent.after(call, done)?);
    let id = call.id.clone();
    open.remove(&id);
    Ok(answer)
}

fn latest(id: Option<String>, open: &mut BTreeMap<String, Open>) -> Option<&mut Open> {
    match id {
        Some(id) => open.get_mut(&id),
        None => open.values_mut().next_back(),
    }
}

fn heard(heard: &Heard) -> Value {
    let decision = if heard.denied.is_some() { "deny" } else { "pass" };
    json!({"decision": decision, "reason": heard.denied, "context": heard.context, "stop": heard.stop})
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.clone());
    }
}
