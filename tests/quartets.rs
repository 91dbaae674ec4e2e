//! The quartet: each kernel has a shader, a host, a twin and a test under one stem, found by name wherever they lie.
//!
//! - shader: `FAMILY/STEM.wgsl` below shaders/
//! - host: `FAMILY/STEM.rs` below src/kernels/, which plans the shader by its stem
//! - twin: `pub fn STEM` below src/reference/, which a test of kernels or testing calls as `ops::STEM`
//! - test: `STEM.rs` below tests/kernels/ with tests in it, part of tests/kernels.rs, whose head names the shader
//! - and bugs: a function of the lists of planted bugs below tests/kernels/ that checks by `STEM::` and plants one in a text of
//!   the shader, so that the test is known to see some

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lapidary::testing::kernels::SHADERS;

/// Shaders without a twin, and why.
const NO_TWIN: [(&str, &str); 1] = [("copy_words", "words leave as they came: what goes in is what is expected")];

/// All files below a folder with their texts.
struct Tree(Vec<(PathBuf, String)>);

impl Tree {
    fn read(folder: &str) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
                let path = entry.expect("a folder entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push((path.clone(), std::fs::read_to_string(&path).expect("a text"))),
                }
            }
        }
        Tree(files)
    }

    /// The texts of all files of this name.
    fn named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(path, _)| path.file_name().is_some_and(|n| n == name))
            .map(|(_, text)| text.as_str())
    }

    /// The folders in which files of this name are.
    fn families(&self, name: &str) -> BTreeSet<String> {
        let named = self.0.iter().filter(|(path, _)| name_of(path) == name);
        named.filter_map(|(path, _)| path.parent().map(name_of)).collect()
    }

    /// Whether a file has `text` where no longer name goes on.
    fn has_name(&self, text: &str) -> bool {
        self.0.iter().any(|(_, file)| has_name(file, text))
    }

    /// The same of the code of files: a name in a comment is no call.
    fn code_has_name(&self, text: &str) -> bool {
        self.0.iter().any(|(_, file)| has_name(&code(file), text))
    }
}

/// Whether `text` stands in a file as a whole: what comes before it and behind it belongs to no name.
fn has_name(file: &str, text: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let starts_name = text.starts_with(|c: char| c.is_alphanumeric());
    let ends_name = text.ends_with(|c: char| c.is_alphanumeric());
    file.match_indices(text).any(|(at, _)| {
        let (before, behind) = (file[..at].chars().next_back(), file[at + text.len()..].chars().next());
        !(starts_name && is_part(before) || ends_name && is_part(behind))
    })
}

struct Trees {
    shaders: Tree,
    hosts: Tree,
    twins: Tree,
    tests: Tree,
    /// Who calls twins beside the tests.
    testing: Tree,
    /// The list of test modules.
    list: String,
}

impl Trees {
    fn read() -> Self {
        Trees {
            shaders: Tree::read("shaders"),
            hosts: Tree::read("src/kernels"),
            twins: Tree::read("src/reference"),
            tests: Tree::read("tests/kernels"),
            testing: Tree::read("src/testing"),
            list: std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernels.rs")).expect("a text"),
        }
    }

    /// What a stem lacks.
    fn missing(&self, stem: &str) -> Vec<String> {
        let (file, shader) = (format!("{stem}.rs"), format!("{stem}.wgsl"));
        let has_twin = self.twins.has_name(&format!("pub fn {stem}("));
        let needs_twin = NO_TWIN.iter().all(|(s, _)| *s != stem);
        let call = format!("ops::{stem}");
        let texts: Vec<String> =
            SHADERS.iter().filter(|s| s.stem == stem).flat_map(|s| [s.wgsl(false), s.wgsl(true)]).collect();
        let is_in_shader = |from: &String| texts.iter().any(|text| text.contains(from.as_str()));
        let plants =
            |function: &str| has_name(function, &format!("{stem}::")) && replaced(function).iter().any(is_in_shader);
        let mut planted = self.tests.0.iter().filter(|(path, _)| name_of(path).starts_with("planted"));
        let all = [
            (self.shaders.named(&shader).next().is_some(), format!("shader: no {shader} below shaders/")),
            (
                self.hosts.named(&file).any(|text| code(text).contains(&format!("\"{stem}\""))),
                format!("host: no {file} below src/kernels/ that plans \"{stem}\""),
            ),
            (
                self.shaders.families(&shader).is_subset(&self.hosts.families(&file)),
                format!("family: {shader} and {file} are in folders of different names"),
            ),
            (has_twin || !needs_twin, format!("twin: no `pub fn {stem}` below src/reference/")),
            (
                !has_twin || self.tests.code_has_name(&call) || self.testing.code_has_name(&call),
                format!("twin: neither tests/kernels/ nor src/testing/ calls `{call}`"),
            ),
            (
                self.tests.named(&file).any(|text| text.contains("#[test]")),
                format!("test: no {file} below tests/kernels/ with a test in it"),
            ),
            (
                self.tests.named(&file).all(|text| heading(text).contains(&format!("`{shader}`"))),
                format!("test: the head of {file} does not name `{shader}`"),
            ),
            (has_name(&self.list, &format!("mod {stem};")), format!("test: no `mod {stem};` in tests/kernels.rs")),
            (
                planted.any(|(_, text)| tests_with_lists(&code(text)).iter().any(|test| plants(test))),
                format!("bugs: no test in planted*.rs below tests/kernels/ checks `{stem}::` with a bug in {shader}"),
            ),
        ];
        all.into_iter().filter(|(is_there, _)| !is_there).map(|(_, what)| what).collect()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A file's lines without comments and imports.
fn code(text: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("use ");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// The lines of documentation that a file begins with.
fn heading(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
}

fn stems() -> BTreeSet<&'static str> {
    SHADERS.iter().map(|shader| shader.stem).collect()
}

#[test]
fn every_kernel_has_its_quartet() {
    let trees = Trees::read();
    let lacking = stems().into_iter().map(|stem| (stem, trees.missing(stem)));
    let lines: Vec<String> = lacking
        .filter(|(_, missing)| !missing.is_empty())
        .map(|(stem, missing)| format!("{stem}:\n  {}", missing.join("\n  ")))
        .collect();
    assert!(lines.is_empty(), "{} of {} kernels lack something:\n{}", lines.len(), stems().len(), lines.join("\n"));
    assert!(stems().len() >= 30, "{} stems: the table was not read", stems().len());
}

/// The exceptions are such: their stems exist, and nothing stands under the name that is said to be missing.
#[test]
fn exceptions_are_needed() {
    let trees = Trees::read();
    for (stem, why) in NO_TWIN {
        assert!(stems().contains(stem) && !why.is_empty(), "{stem}: no such shader");
        assert!(!trees.twins.has_name(&format!("pub fn {stem}(")), "{stem} has a twin: it needs no exception");
    }
}

/// What is not there is found missing: a stem of no kernel lacks all of it, and parts of longer names are no names.
#[test]
fn what_is_missing_is_found() {
    let missing = Trees::read().missing("no_such_kernel");
    let parts: Vec<&str> = missing.iter().map(|what| what.split(':').next().unwrap_or_default()).collect();
    assert_eq!(parts, ["shader", "host", "twin", "test", "test", "bugs"], "{missing:?}");
    // "matmul" is the start of others, and "attention" the end of none.
    assert!(has_name("mod matmul;", "mod matmul;") && !has_name("mod matmul_grouped;", "mod matmul"));
    assert!(has_name("ops::matmul(x)", "ops::matmul") && !has_name("ops::matmul_grouped(x)", "ops::matmul"));
    assert!(has_name("super::attention::chunk", "attention::") && !has_name("own_attention::chunk", "attention::"));
}

/// The tests of a file, each with the lists of bugs that it goes through.
fn tests_with_lists(code: &str) -> Vec<String> {
    let lists = code.split("\nconst ").skip(1).filter_map(|list| list.split_once(':'));
    let lists: Vec<_> = lists.map(|(name, rest)| (name, rest.split("\n];").next().unwrap_or_default())).collect();
    let with_lists = |test: &str| {
        let own = lists.iter().filter(|(name, _)| has_name(test, name)).map(|(_, list)| *list);
        [test].into_iter().chain(own).collect::<Vec<_>>().join("\n")
    };
    code.split("#[test]").skip(1).map(with_lists).collect()
}

/// What the bugs of a function replace: the second text of each `bug("name", "from", "to")`.
fn replaced(function: &str) -> Vec<String> {
    let bugs = function.split("bug(").skip(1);
    bugs.filter_map(|bug| {
        let (_, rest) = literal(bug)?;
        literal(rest).map(|(from, _)| from)
    })
    .collect()
}

/// The first text in quotes, and what comes behind it.
fn literal(code: &str) -> Option<(String, &str)> {
    let start = code.find('"')? + 1;
    let (mut text, mut chars) = (String::new(), code[start..].char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &code[start + at + 1..])),
            '\\' => text.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => text.push(other),
        }
    }
    None
}

#[test]
fn planted_bugs_are_read() {
    let code =
        "sees(bug(\n    \"one: \\\"a\\\"\",\n    \"x\\ny\",\n    \"z\"), all);\nsees(bug(\"two\", \"b\", \"c\"), all);";
    assert_eq!(replaced(code), ["x\ny", "b"]);
    assert_eq!(replaced("fn debug() {}"), Vec::<String>::new());
}
