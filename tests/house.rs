//! How the files of `src` hang together: no two of them use each other, directly or in a circle; and what functions take and give
//! back, and what structures hold: names, no tuples.

#[path = "house/reader.rs"]
mod reader;
#[path = "house/tuples.rs"]
mod tuples;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use reader::{Edges, Tree, circles, tokens, without_tests};
use tuples::{tuples_named, tuples_taken};

/// All files in `folder` and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The circles, a line for each step in them.
fn described(edges: &Edges, circles: &[BTreeSet<String>]) -> String {
    let mut lines = Vec::new();
    for (number, circle) in circles.iter().enumerate() {
        for file in circle {
            for (used, path) in edges[file].iter().filter(|(used, _)| circle.contains(*used)) {
                lines.push(format!("circle {}: {file} uses {used} by {path}", number + 1));
            }
        }
    }
    lines.join("\n")
}

/// Names and texts of the files of `src`.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = Vec::new();
    for path in files(&src) {
        let name = path.strip_prefix(&src).expect("inside").to_str().expect("a name").replace('\\', "/");
        if name.ends_with(".rs") {
            texts.push((name, fs::read_to_string(&path).expect("a file")));
        }
    }
    texts
}

#[test]
fn no_two_files_use_each_other() {
    let texts = sources();
    let tree = Tree::read(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let edges = tree.edges();
    // What every reader must see: a plain path, one through a door, one of the program into the library, a call of a child.
    for (file, used) in [
        ("gpu/device.rs", "gpu/adapter.rs"),
        ("kernels/norm/rms_norm.rs", "kernels/planner.rs"),
        ("cli/ranks.rs", "parallel/shares.rs"),
        ("checkpoint/mod.rs", "checkpoint/prefix.rs"),
    ] {
        assert!(edges.get(file).is_some_and(|all| all.contains_key(used)), "{file} uses {used}");
    }
    let found = circles(&edges);
    assert!(found.is_empty(), "files that use each other:\n{}", described(&edges, &found));
}

/// The circles of a made-up crate, each as its files.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let found = circles(&Tree::read(files.iter().copied()).edges());
    found.into_iter().map(|circle| circle.into_iter().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn circles_are_found() {
    let c = ("c.rs", "pub fn c() {}");
    assert_eq!(circles_of(&[("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A;"), c]), ["a.rs b.rs"]);
    // Through a third, by names in braces and by paths that are written out.
    let third = [
        ("a.rs", "use crate::{c::c, b::{self, B as Other}};"),
        ("b.rs", "fn f() { crate::d::call(); }"),
        ("d.rs", "impl super::a::A {}"),
        c,
    ];
    assert_eq!(circles_of(&third), ["a.rs b.rs d.rs"]);
    // A folder's own file with one of its children.
    let child = [("f/mod.rs", "mod g; pub struct F; fn f() { g::g(); }"), ("f/g.rs", "use super::F;")];
    assert_eq!(circles_of(&child), ["f/g.rs f/mod.rs"]);
    // The program uses the library, and two circles are two.
    let two = [
        ("lib.rs", "mod a; mod b; pub mod c;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a::A;"),
        ("cli/mod.rs", "mod x; const C: u8 = 1; fn f() { x::x(); }"),
        ("cli/x.rs", "use lapidary::c::c;\npub(super) fn x() -> u8 { super::C }"),
        c,
    ];
    assert_eq!(circles_of(&two), ["a.rs b.rs", "cli/mod.rs cli/x.rs"]);
}

#[test]
fn doors_lead_on() {
    // `a` means what `g` has, not `f/mod.rs`, which uses `a`.
    let door = [
        ("f/mod.rs", "mod g; pub use g::G; use crate::a::A; pub struct F(A);"),
        ("f/g.rs", "pub struct G;"),
        ("a.rs", "use crate::f::G;"),
    ];
    assert!(circles_of(&door).is_empty());
    let mut back = door;
    back[1].1 = "use crate::a::A; pub struct G;";
    assert_eq!(circles_of(&back), ["a.rs f/g.rs"]);
    // A door whose name its own file uses is a use.
    let mentioned = [("f/mod.rs", "mod g; pub use g::G; pub struct F(G);"), ("f/g.rs", "use super::F; pub struct G;")];
    assert_eq!(circles_of(&mentioned), ["f/g.rs f/mod.rs"]);
    let alone = [("f/mod.rs", "mod g; pub use g::G; pub struct F;"), ("f/g.rs", "use super::F; pub struct G;")];
    assert!(circles_of(&alone).is_empty());
    // Doors that go round in a circle end.
    circles_of(&[("a.rs", "pub use crate::b::X;"), ("b.rs", "pub use crate::a::X; fn f(x: X) {}")]);
}

#[test]
fn tests_comments_and_strings_are_no_uses() {
    for b in [
        "// use crate::a::A;",
        "/* /* use */ crate::a::A */",
        "const TEXT: &str = \"\\\"use crate::a::A;\";",
        "const TEXT: &str = r#\"use \"crate::a::A\";\"#;",
        "const QUOTE: char = '\"'; // \"use crate::a::A;\"",
        "fn f<'a>(c: &'a str) -> bool { c != 'x' } /* ' crate::a::A */",
        "#[cfg(test)]\nuse crate::a::A;",
        "#[cfg(test)]\n#[expect(clippy::unwrap_used)]\nmod tests {\n    fn f() { if true { crate::a::a(); } }\n}",
        "impl B { #[cfg(test)] fn b(x: [u8; 2]) { crate::a::a(); } }",
        "pub(in crate::a) fn b() {}",
    ] {
        assert!(circles_of(&[("a.rs", "use crate::b::B;"), ("b.rs", b)]).is_empty(), "{b}");
    }
    let checks = ("b/checks.rs", "use crate::a::A; use super::B;");
    let with = |b| circles_of(&[("a.rs", "use crate::b::B;"), ("b.rs", b), checks]);
    assert!(with("#[cfg(test)]\n#[path = \"b/checks.rs\"]\nmod checks;").is_empty());
    assert_eq!(with("mod checks; fn f() { checks::check(); }"), ["a.rs b.rs b/checks.rs"]);
    // What follows a test is read.
    let behind = "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::a::A;";
    assert_eq!(circles_of(&[("a.rs", "use crate::b::B;"), ("b.rs", behind)]), ["a.rs b.rs"]);
    let both = "#[cfg(any(test, windows))]\nuse crate::a::A;";
    assert_eq!(circles_of(&[("a.rs", "use crate::b::B;"), ("b.rs", both)]), ["a.rs b.rs"]);
}

/// The floors of modules, of the table in `src/lib.rs`; what is not in it is below all.
fn floors(lib: &str) -> BTreeMap<String, usize> {
    let row = |line: &str| {
        let (floor, rest) = line.strip_prefix("//! | ")?.split_once(" | ")?;
        let name = rest.split('`').nth(1)?;
        Some((name.to_owned(), floor.parse().ok()?))
    };
    lib.lines().filter_map(row).collect()
}

/// Uses of a higher floor, or of another module on the same one.
fn upward(edges: &Edges, floors: &BTreeMap<String, usize>) -> Vec<String> {
    let module = |file: &str| file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let mut found = Vec::new();
    for (file, all) in edges {
        let from = module(file);
        let Some(floor) = floors.get(&from) else { continue };
        for (used, path) in all {
            let to = module(used);
            if to != from && floors.get(&to).is_some_and(|other| other >= floor) {
                found.push(format!("{file} (floor {floor}) uses {used} by {path}"));
            }
        }
    }
    found
}

#[test]
fn imports_point_down_the_floors() {
    let texts = sources();
    let lib = texts.iter().find(|(name, _)| name == "lib.rs").map_or("", |(_, text)| text.as_str());
    let floors = floors(lib);
    assert!(floors.len() >= 14, "the table of floors was not read: {floors:?}");
    let edges = Tree::read(texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))).edges();
    let found = upward(&edges, &floors);
    assert!(found.is_empty(), "imports that do not point down:\n{}", found.join("\n"));
    // One that does not is found.
    let files = [
        ("gpu/a.rs", "use crate::model::b::B;"),
        ("gpu/mod.rs", "mod a;"),
        ("model/b.rs", "pub struct B;"),
        ("model/mod.rs", "pub mod b;"),
    ];
    assert_eq!(upward(&Tree::read(files).edges(), &floors).len(), 1);
}

/// Functions that take a tuple all the same: file, function, why.
const TUPLES: [(&str, &str, &str); 1] = [("text/jinja/value.rs", "show", "an entry of a map, as maps give them")];

#[test]
fn parameters_have_names() {
    let mut lines = Vec::new();
    for (file, text) in &sources() {
        let is_known = |name: &str| TUPLES.iter().any(|(f, n, _)| f == file && *n == name);
        let taken = tuples_taken(text).into_iter().filter(|(name, _)| !is_known(name));
        lines.extend(taken.map(|(name, count)| format!("{file}: fn {name} takes {count}")));
    }
    assert!(lines.is_empty(), "tuples where a struct with a name would do:\n{}", lines.join("\n"));
    for (file, name, why) in TUPLES {
        let is_there = |(f, text): &(String, String)| f == file && tuples_taken(text).iter().any(|(n, _)| n == name);
        assert!(sources().iter().any(is_there) && !why.is_empty(), "{file}: fn {name} takes no tuple any more");
    }
}

#[test]
fn tuples_are_found() {
    let count = |text: &str| tuples_taken(text).iter().map(|(_, count)| count).sum::<usize>();
    assert_eq!(count("fn f(a: u8, (b, c): (u8, u8)) {}"), 1);
    assert_eq!(count("pub fn f<T: Fn((u8, u8)) -> u8>(&self, a: &mut (T, u8), b: &(u8, u8)) -> (u8, u8) { x }"), 2);
    for none in [
        "fn f(a: u8, b: [(u8, u8); 2], c: Vec<(u8, u8)>) -> (u8, u8) {}",
        "fn f(g: impl Fn((u8, u8)) -> u8, h: &(dyn Fn(u8, u8) + Sync), nothing: ()) {}",
        "fn f(Pair { a, b }: Pair) { let (c, d): (u8, u8) = (a, b); }",
        "#[cfg(test)]\nmod tests { fn f(a: (u8, u8)) {} }",
        "type F = fn(u8, u8);",
    ] {
        assert_eq!(count(none), 0, "{none}");
    }
}

/// Where tuples stand all the same: a file or a folder, what there has them (nothing for all of it), and why.
const PAIRS: [(&str, &[&str], &str); 25] = [
    ("text/jinja", &[], "a template's own pairs: keys and values, names and expressions, texts and what parts them"),
    ("text/template.rs", &[], "names and values, which become a map of the template's"),
    ("text/templates.rs", &["fn further_tokens"], "names and values, as above"),
    ("text/special.rs", &["fn new", "fn at_start", "struct Guard"], "entries of a map, either way round"),
    ("text/tokenizer_model.rs", &[], "merges, as the tokenizer's crate takes them"),
    ("gemma4/json.rs", &["fn entries"], "entries of a map"),
    ("gemma4/config.rs", &["fn parse_with"], "what was read, and what the caller reads beside it, of any type"),
    ("kernels/tuning/attention.rs", &["fn heads_here", "fn keys"], "two numbers of one small calculation"),
    ("kernels/planner.rs", &[], "constants by name, buffers by name or number: written out at every kernel"),
    ("kernels/experts/router.rs", &["fn bindings"], "constants and buffers, as above"),
    ("kernels/shaders", &["fn numbered", "fn read"], "buffers by name or number; a head and the text behind it"),
    ("kernels/params.rs", &["struct Params"], "a macro's pattern, which is no tuple"),
    ("kernels/product", &["fn shape", "struct WeightsBuilder"], "what is private to one file"),
    ("gpu/pipeline.rs", &["type Constants"], "constants by name"),
    ("gpu/pass.rs", &["fn new"], "buffers by number"),
    ("gpu/compile.rs", &["fn bind_group_layout"], "bindings by number"),
    ("gpu/specialize.rs", &[], "bindings by number, constants by name"),
    ("gpu/speed.rs", &["struct Pace"], "the key of a map"),
    ("gpu/rehearsal.rs", &["struct Imagined"], "the least and the most lanes of subgroups, as drivers say them"),
    ("reference", &[], "both results of an operation, as plain loops make them"),
    ("doctor/checks/attention.rs", &["fn chunk"], "slot, position and token of rows, as tests write them"),
    ("testing", &[], "values with their bounds; a row's slot, position and token, written out in every test"),
    ("threads.rs", &["fn both"], "the results of two closures"),
    ("cli/doctor/show.rs", &["fn limits"], "names and values, which become a table or a map"),
    ("checkpoint", CHECKPOINT_PAIRS, "tensors by name, keys of a map, files of the program by name"),
];

/// Those that read files.
const CHECKPOINT_PAIRS: &[&str] = &["enum Source", "fn check_layout", "struct Parsed", "fn is_double", "struct Alike"];

/// Files that are there for tests only: modules that are marked so.
fn test_files(texts: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (file, text) in texts {
        let folder = file.strip_suffix("mod.rs").map_or_else(|| file.replace(".rs", "/"), str::to_owned);
        let (_, modules) = without_tests(tokens(text));
        found.extend(modules.into_iter().map(|name| format!("{folder}{name}.rs")));
    }
    found
}

#[test]
fn results_and_fields_have_names() {
    let texts = sources();
    let tests = test_files(&texts);
    let (mut lines, mut used) = (Vec::new(), BTreeSet::new());
    for (file, text) in texts.iter().filter(|(file, _)| !tests.contains(file)) {
        let (tokens, _) = without_tests(tokens(text));
        for (name, count) in tuples_named(&tokens) {
            let known = PAIRS.iter().position(|(place, names, why)| {
                let is_there =
                    file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']));
                is_there && (names.is_empty() || names.contains(&name.as_str())) && !why.is_empty()
            });
            match known {
                Some(number) => {
                    used.insert((number, PAIRS[number].1.iter().position(|known| *known == name)));
                }
                None => lines.push(format!("{file}: {name} has {count}")),
            }
        }
    }
    assert!(lines.is_empty(), "tuples where a struct with a name would do:\n{}", lines.join("\n"));
    for (number, (place, names, _)) in PAIRS.iter().enumerate() {
        let all = names.iter().enumerate().all(|(name, _)| used.contains(&(number, Some(name))));
        assert!(
            all && used.iter().any(|(used, _)| *used == number),
            "{place}: what stands in the list has no tuples any more"
        );
    }
}

#[test]
fn tuples_in_types_are_found() {
    let found = |text: &str| {
        let all = tuples_named(&tokens(text)).into_iter().map(|(name, count)| format!("{name} {count}"));
        all.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(found("fn f(a: u8) -> Result<(u8, u8)> { (1, 2) }"), "fn f 1");
    assert_eq!(found("fn f(a: Vec<(u8, u8)>, b: &[(u8, Vec<(u8, u8)>)]) -> u8 { 1 }"), "fn f 2");
    assert_eq!(found("pub fn f<'a>(&'a self) -> impl Iterator<Item = (&'a u8, u8)> where Self: Sized { x }"), "fn f 1");
    assert_eq!(found("struct S { a: u8, pub(crate) b: Option<(u8, u8)>, c: ((u8, u8), u8) }"), "struct S 2");
    assert_eq!(found("struct S<T>(Vec<(T, u8)>, u8);"), "struct S 1");
    assert_eq!(
        found("enum E { #[error(\"{a}\", b)] A(u8, u8), B { a: (u8, u8) }, C(Option<(u8, u8)>), D }"),
        "enum E 2"
    );
    assert_eq!(found("type T = BTreeMap<(u8, u8), u8>;"), "type T 1");
    for none in [
        "fn f(a: impl Fn(u8, u8) -> (u8, u8), b: &dyn FnMut((u8, u8))) -> Result<()> { let c: (u8, u8) = d(); }",
        "struct S { pub(in crate::a) a: [u8; 2], b: fn(u8, u8) -> u8, c: () }",
        "struct S;",
        "enum E { A(u8, u8), B { a: u8 }, C = 3 }",
        "const C: [(u8, u8); 1] = [(1, 2)];",
        "fn f() where for<'a> F: Fn(&'a (u8, u8)) {}",
    ] {
        assert_eq!(found(none), "", "{none}");
    }
}
