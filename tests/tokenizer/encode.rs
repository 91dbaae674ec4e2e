//! The ids of texts: JSON strings on stdin, a line each; a JSON list of ids on stdout for each.
//!   cargo run --example encode -- tokenizer.json
#![expect(clippy::unwrap_used, reason = "for tests")]

use std::io::{BufRead, BufWriter, Write};

use lapidary::text::Tokenizer;

fn main() {
    let path = std::env::args().nth(1).expect("tokenizer.json as the only argument");
    let tokenizer = Tokenizer::from_bytes(&std::fs::read(path).unwrap()).unwrap();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line.unwrap()).unwrap();
        let ids = tokenizer.encode(&text).unwrap();
        writeln!(out, "{ids:?}").unwrap();
    }
    out.flush().unwrap();
}
