//! Changes of a JSON text: one value of it becomes another, moves, multiplies or goes.

use std::fmt::Write;

use fastrand::Rng;
use serde_json::{Map, Number, Value};

use super::{STRINGS, pick};

/// Values at the edges of what readers take.
const NUMBERS: [&str; 33] = [
    "0.1",
    "0.25",
    "0.75",
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "3",
    "4",
    "8",
    "15",
    "16",
    "128",
    "255",
    "256",
    "1024",
    "65535",
    "65536",
    "16777216",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "5e-324",
    "1e-45",
    "1e39",
    "0.5",
    "-2.5",
];
const DEEPEST: usize = 200;

/// The text with a change or two, `None` where it is no JSON.
pub(super) fn change(text: &str, words: &[&str], rng: &mut Rng) -> Option<String> {
    let mut root: Value = serde_json::from_str(text).ok()?;
    for _ in 0..rng.usize(1..=3) {
        let count = count(&root);
        let other = nth(&mut root, &mut rng.usize(..count)).cloned().unwrap_or(Value::Null);
        // Every other time what stands behind a word that means something: most values are entries of long lists.
        let known = if rng.bool() { known(&root, words) } else { 0 };
        let value = match known {
            0 => nth(&mut root, &mut rng.usize(..count)),
            _ => nth_known(&mut root, words, &mut rng.usize(..known)),
        };
        if let Some(value) = value {
            change_value(value, other, words, rng);
        }
    }
    let mut out = String::new();
    // Now and then a key stands twice, which no Value can hold.
    let mut twice = if rng.u8(..12) == 0 { rng.usize(..count(&root)) } else { usize::MAX };
    write(&root, &mut out, &mut twice, rng);
    Some(out)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The value that comes `number` values behind `value`, in the order of the text.
fn nth<'v>(value: &'v mut Value, number: &mut usize) -> Option<&'v mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|entry| nth(entry, number)),
        Value::Object(map) => map.values_mut().find_map(|entry| nth(entry, number)),
        _ => None,
    }
}

/// How many values stand behind one of `words`.
fn known(value: &Value, words: &[&str]) -> usize {
    match value {
        Value::Array(list) => list.iter().map(|entry| known(entry, words)).sum(),
        Value::Object(map) => {
            map.iter().map(|(key, entry)| usize::from(words.contains(&key.as_str())) + known(entry, words)).sum()
        }
        _ => 0,
    }
}

/// The value behind one of `words`, with `number` such before it.
fn nth_known<'v>(value: &'v mut Value, words: &[&str], number: &mut usize) -> Option<&'v mut Value> {
    match value {
        Value::Array(list) => list.iter_mut().find_map(|entry| nth_known(entry, words, number)),
        Value::Object(map) => map.iter_mut().find_map(|(key, entry)| {
            if words.contains(&key.as_str()) {
                if *number == 0 {
                    return Some(entry);
                }
                *number -= 1;
            }
            nth_known(entry, words, number)
        }),
        _ => None,
    }
}

fn change_value(value: &mut Value, other: Value, words: &[&str], rng: &mut Rng) {
    match (rng.u8(..10), &mut *value) {
        (0..=2, Value::Object(map)) => change_object(map, other, words, rng),
        (0..=2, Value::Array(list)) => change_list(list, other, rng),
        (0..=2, Value::String(text)) => *text = change_text(text, words, rng),
        (0..=2, Value::Number(number)) => *number = change_number(number, rng),
        (0..=2, Value::Bool(flag)) => *flag = !*flag,
        (3, _) => *value = other,
        (4, _) => *value = Value::Null,
        (5, _) => {
            let deepest = if rng.u8(..8) == 0 { DEEPEST } else { 2 };
            for _ in 0..rng.usize(1..=deepest) {
                *value = wrap(value.take(), words, rng);
            }
        }
        (6, _) => *value = Value::String(change_text("", words, rng)),
        (7, _) => *value = Value::Bool(rng.bool()),
        _ => *value = Value::Number(parse(pick(&NUMBERS, rng))),
    }
}

fn wrap(value: Value, words: &[&str], rng: &mut Rng) -> Value {
    match rng.bool() || words.is_empty() {
        true => Value::Array(vec![value]),
        false => Value::Object(Map::from_iter([(pick(words, rng).to_owned(), value)])),
    }
}

fn change_object(map: &mut Map<String, Value>, other: Value, words: &[&str], rng: &mut Rng) {
    let keys: Vec<String> = map.keys().cloned().collect();
    let some = keys.get(rng.usize(..keys.len().max(1))).cloned().unwrap_or_default();
    match rng.u8(..4) {
        0 => {
            map.shift_remove(&some);
        }
        1 if !words.is_empty() => {
            map.insert(pick(words, rng).to_owned(), other);
        }
        2 => {
            if let Some(value) = map.shift_remove(&some) {
                map.insert(change_text(&some, words, rng), value);
            }
        }
        _ => {
            map.insert(some, other);
        }
    }
}

fn change_list(list: &mut Vec<Value>, other: Value, rng: &mut Rng) {
    let at = rng.usize(..list.len().max(1));
    match rng.u8(..4) {
        0 if !list.is_empty() => {
            list.remove(at);
        }
        1 if !list.is_empty() => {
            let times = 1 << rng.u32(..7);
            let copy = list[at].clone();
            list.splice(at..at, std::iter::repeat_n(copy, times));
        }
        2 if !list.is_empty() => {
            let with = rng.usize(..list.len());
            list.swap(at, with);
        }
        _ => list.insert(at.min(list.len()), other),
    }
}

fn change_text(text: &str, words: &[&str], rng: &mut Rng) -> String {
    let at =
        text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(rng.usize(..=text.chars().count())).unwrap_or(0);
    let (before, behind) = text.split_at(at);
    match rng.u8(..6) {
        0 => before.to_owned(),
        1 => behind.to_owned(),
        2 if text.len() <= 4096 => text.repeat(1 << rng.u32(1..9)).chars().take(1 << 14).collect(),
        3 if !words.is_empty() => pick(words, rng).to_owned(),
        _ => [before, pick(&STRINGS, rng), behind].concat(),
    }
}

fn change_number(number: &Number, rng: &mut Rng) -> Number {
    match (rng.u8(..5), number.as_i64()) {
        (0, Some(integer)) => integer.wrapping_add(1).into(),
        (1, Some(integer)) => integer.wrapping_sub(1).into(),
        (2, Some(integer)) => integer.wrapping_mul(2).into(),
        (3, Some(integer)) => integer.wrapping_neg().into(),
        _ => parse(pick(&NUMBERS, rng)),
    }
}

fn parse(text: &str) -> Number {
    serde_json::from_str(text).expect("a number")
}

/// As serde_json writes it, but for one object whose first key stands twice.
fn write(value: &Value, out: &mut String, twice: &mut usize, rng: &mut Rng) {
    let here = *twice == 0;
    *twice = twice.wrapping_sub(1);
    match value {
        Value::Array(list) => {
            out.push('[');
            for (number, entry) in list.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                write(entry, out, twice, rng);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (number, (key, entry)) in map.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                write!(out, "{}:", Value::from(key.as_str())).expect("strings take all");
                write(entry, out, twice, rng);
            }
            if let (true, Some((key, entry))) = (here, map.iter().next()) {
                let other = if rng.bool() { entry.clone() } else { Value::from("user") };
                write!(out, ",{}:{other}", Value::from(key.as_str())).expect("strings take all");
            }
            out.push('}');
        }
        plain => write!(out, "{plain}").expect("strings take all"),
    }
}
