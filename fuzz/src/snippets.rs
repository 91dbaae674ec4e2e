//! The snippets of templates that are compared with Python's Jinja, out of `tests/jinja/fixed.py`.

use std::sync::LazyLock;

const FILE: &str = include_str!("../../tests/jinja/fixed.py");

/// A snippet each. `M` is the first message of [`given`].
pub static SNIPPETS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| raw("SNIPPETS").lines().filter(|line| !line.is_empty()).collect());

/// The conversation that all snippets see.
pub fn given() -> &'static str {
    raw("GIVEN")
}

/// The raw string of this name.
fn raw(name: &str) -> &'static str {
    let behind = FILE.split_once(&format!("\n{name} = r\"\"\"")).expect("a raw string of this name").1;
    behind.split_once("\"\"\"").expect("the string ends").0
}
