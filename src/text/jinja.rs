//! The template environment: Jinja as transformers sets it up, with the functions that chat templates expect.

use std::collections::HashMap;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, filters};

use super::clock::strftime;
use super::special::Guard;

/// What a template said in `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

/// An environment for one rendering.
pub(crate) fn environment(guard: &Guard) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_debug(false);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    // Blocks on lines of their own leave no trace, as in transformers.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.expect("the default delimiters are valid"));
    env.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Refusal(reason)))
    });
    env.add_function("strftime_now", |format: &str| strftime(format, SystemTime::now()));
    env.add_filter("tojson", tojson);
    let guard = guard.clone();
    env.add_filter("dictsort", move |state: &State, map: &Value, options: Kwargs| {
        dictsort(&guard, state, map, options)
    });
    env
}

/// Sorts by the keys that the caller wrote, not by their stand-ins.
fn dictsort(guard: &Guard, state: &State, map: &Value, options: Kwargs) -> Result<Value, Error> {
    let mut originals = HashMap::new();
    let mut pairs = Vec::new();
    if map.kind() == ValueKind::Map {
        for key in map.try_iter()? {
            state.consume_fuel(1)?;
            let shown = match key.as_str() {
                Some(text) => Value::from(guard.show(text)),
                None => key.clone(),
            };
            pairs.push((shown.clone(), map.get_item(&key)?));
            if shown != key {
                originals.insert(shown, key);
            }
        }
    }
    if originals.is_empty() {
        return filters::dictsort(map, options);
    }
    let sorted = filters::dictsort(&Value::from_pairs(pairs), options)?;
    let back = sorted.try_iter()?.map(|pair| {
        let key = pair.get_item_by_index(0)?;
        Ok(Value::from(vec![originals.get(&key).unwrap_or(&key).clone(), pair.get_item_by_index(1)?]))
    });
    back.collect::<Result<Vec<_>, Error>>().map(Value::from)
}

/// Deepest value that `tojson` writes.
const MAX_DEPTH: usize = 128;

/// `json.dumps(value, ensure_ascii=False, indent=indent)`: spaces after separators, nothing escaped for HTML.
fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // transformers' filter has the argument; what it turns off is what is done here anyway.
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: ensure_ascii is true, expected false"));
    }
    let mut writer = JsonWriter { state, indent, depth: 0, out: String::new() };
    writer.write(value)?;
    Ok(writer.out)
}

struct JsonWriter<'a> {
    state: &'a State<'a, 'a>,
    indent: Option<usize>,
    depth: usize,
    out: String,
}

impl JsonWriter<'_> {
    fn write(&mut self, value: &Value) -> Result<(), Error> {
        // A list may hold one large value many times, so the output is paid for, and not only the values.
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&value.to_string()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                self.open('[')?;
                let mut first = true;
                for entry in value.try_iter()? {
                    self.separate(&mut first);
                    self.write(&entry)?;
                }
                self.close(']', first);
            }
            ValueKind::Map => {
                self.open('{')?;
                let mut first = true;
                for key in value.try_iter()? {
                    self.separate(&mut first);
                    match key.as_str() {
                        Some(text) => self.string(text)?,
                        None => self.string(&key.to_string())?,
                    }
                    self.out.push_str(": ");
                    self.write(&value.get_item(&key)?)?;
                }
                self.close('}', first);
            }
            other => {
                let text = format!("tojson: found {other}, expected a value that JSON has");
                return Err(Error::new(ErrorKind::InvalidOperation, text));
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        let quoted = serde_json::to_string(text)
            .map_err(|e| Error::new(ErrorKind::BadSerialization, "tojson").with_source(e))?;
        self.out.push_str(&quoted);
        Ok(())
    }

    fn open(&mut self, bracket: char) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let text = format!("tojson: value is nested deeper than {MAX_DEPTH}, expected less");
            return Err(Error::new(ErrorKind::InvalidOperation, text));
        }
        self.out.push(bracket);
        Ok(())
    }

    fn separate(&mut self, first: &mut bool) {
        match (std::mem::take(first), self.indent) {
            (true, None) => {}
            (false, None) => self.out.push_str(", "),
            (true, Some(_)) => self.new_line(),
            (false, Some(_)) => {
                self.out.push(',');
                self.new_line();
            }
        }
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.depth -= 1;
        if !empty && self.indent.is_some() {
            self.new_line();
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self) {
        let width = self.depth * self.indent.unwrap_or(0).min(16);
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', width));
    }
}
