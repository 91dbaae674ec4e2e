//! What is public: at most so many items as somebody can look through, and what an embedder needs is among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Structs, enums, traits, functions, types and constants that the documentation lists.
const MOST: usize = 200;

/// Methods of these types, their own and those of traits that are listed.
const MOST_METHODS: usize = 340;

/// Paths of all items, of the page where rustdoc lists them.
fn items(page: &str) -> Vec<String> {
    let links = page.split("<li><a href=\"").skip(1);
    // Those with # lead to a heading.
    links
        .filter_map(|link| Some(link.split_once(".html")?.0.to_owned()))
        .filter(|item| !item.starts_with('#'))
        .collect()
}

/// Methods that a type has of its own, of its page; those that a trait asks for, of the page of a trait. What comes with other
/// traits and types stands behind.
fn methods(page: &str) -> usize {
    let behind = ["trait-implementations", "deref-methods", "synthetic-implementations", "blanket-implementations"];
    let ends = behind.iter().filter_map(|name| page.find(&format!("<h2 id=\"{name}")));
    let own = &page[..ends.min().unwrap_or(page.len())];
    own.matches("<section id=\"method.").count() + own.matches("<section id=\"tymethod.").count()
}

#[test]
fn methods_are_found_in_a_page() {
    let page = r#"<h2 id="implementations" class="section-header">Implementations</h2><section id="method.new" class="method">
        <section id="method.of" class="method"><h2 id="trait-implementations" class="section-header">Trait Implementations</h2>
        <section id="method.fmt" class="method trait-impl">"#;
    assert_eq!(methods(page), 2);
    assert_eq!(methods(r#"<section id="tymethod.all" class="method">"#), 1);
    assert_eq!(methods(r#"<h2 id="blanket-implementations"><section id="method.into" class="method trait-impl">"#), 0);
}

/// Files of `folder` and below, with what stands in them.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| {
        if path.is_dir() {
            return texts(&path);
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        vec![(path, text)]
    };
    entries.flat_map(read).collect()
}

/// The example of a chat is what an embedder reads first: it fits a screen.
#[test]
fn the_chat_example_is_short() {
    let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/chat.rs");
    let lines = std::fs::read_to_string(chat).expect("the example").lines().count();
    assert!((20..=60).contains(&lines), "examples/chat.rs has {lines} lines");
}

#[test]
fn two_doors_are_hidden() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let hidden = |line: &str| line.trim_start().starts_with("#[doc(hidden)]");
    let mut doors = Vec::new();
    for (path, text) in texts(&src) {
        let lines: Vec<&str> = text.lines().collect();
        let found = lines.windows(2).filter(|pair| hidden(pair[0])).map(|pair| pair[1]);
        doors.extend(found.map(|door| format!("{}: {door}", path.strip_prefix(&src).expect("inside").display())));
    }
    assert_eq!(doors, ["lib.rs: pub mod fuzzing;", "lib.rs: pub mod testing;"]);
}

#[test]
fn items_are_found_in_a_page() {
    let page = r##"<ul><li><a href="#structs">Structs</a></li></ul><h3 id="structs">Structs</h3><ul class="all-items"><li><a href="gpu/struct.Gpu.html">gpu::Gpu</a></li>
        <li><a href="struct.Bytes.html">Bytes</a></li></ul><h3 id="functions">"##;
    assert_eq!(items(page), ["gpu/struct.Gpu", "struct.Bytes"]);
}

#[test]
fn what_is_public_is_what_an_embedder_needs() {
    // Dependencies are those of this build; only the pages go elsewhere, as others may be there that show private items too.
    let pages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("surface");
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["doc", "--release", "--locked", "--offline", "--quiet", "--no-deps", "--lib", "--config"]);
    cargo.arg(format!("build.build-dir={:?}", build.display().to_string())).arg("--target-dir").arg(&pages);
    // Flags of the tests' own run may show what is private.
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("RUSTDOCFLAGS").env_remove("CARGO_ENCODED_RUSTDOCFLAGS");
    let output = cargo.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(pages.join("doc/lapidary/all.html")).expect("rustdoc's list of all items");
    let items = items(&page);
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &items {
        *modules.entry(item.rsplit_once('/').map_or("", |(module, _)| module)).or_default() += 1;
    }
    eprintln!("{} public items: {modules:?}", items.len());
    let own = |item: &String| {
        let page = pages.join("doc/lapidary").join(format!("{item}.html"));
        methods(&std::fs::read_to_string(page).expect("the page of an item"))
    };
    let count: usize = items.iter().map(own).sum();
    eprintln!("{count} public methods");
    assert!(count <= MOST_METHODS, "{count} public methods, expected at most {MOST_METHODS}");
    assert!(items.len() <= MOST, "{} public items, expected at most {MOST}: {modules:?}", items.len());
    for needed in [
        "chat/struct.Chat",
        "checkpoint/enum.Source",
        "doctor/fn.open",
        "engine/struct.Generator",
        "enum.Error",
        "gpu/fn.adapters",
        "model/struct.MemoryPlan",
        "model/struct.Options",
        "product/fn.plan",
        "quant/enum.Matrix",
        "text/struct.Tokenizer",
    ] {
        let found = items.iter().any(|item| item == needed || item.ends_with(&format!("/{needed}")));
        assert!(found, "{needed} is not public");
    }
    for inside in ["testing", "kernels", "reference", "fuzzing"] {
        let found = items.iter().find(|item| item.split('/').next() == Some(inside));
        assert_eq!(found, None, "{inside} is public");
    }
}
