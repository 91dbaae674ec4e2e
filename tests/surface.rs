//! What is public: at most so many items as somebody can look through, and what an embedder needs is among them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Structs, enums, traits, functions, types and constants that the documentation lists.
const MOST: usize = 200;

/// Paths of all items, of the page where rustdoc lists them.
fn items(page: &str) -> Vec<String> {
    let links = page.split("<li><a href=\"").skip(1);
    // Those with # lead to a heading.
    links
        .filter_map(|link| Some(link.split_once(".html")?.0.to_owned()))
        .filter(|item| !item.starts_with('#'))
        .collect()
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
