//! A small reader of Rust's paths: which file imports what from which.
//!
//! A file uses another one where its code, without tests and comments, has a path to something that the other one defines: in a
//! `use`, or written out. A path through a `use` of a third file (a door, as `mod.rs` has them) leads on to the file behind it,
//! and a door alone uses nothing, unless its own file mentions the name too. Methods that stand in other files than their type
//! leave no trace: whoever calls one needs no path.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path from the root of the crate; that of `src/main.rs` is `main`.
type Module = Vec<String>;

/// What a file imports: the path as it is written, the name that it gets, and whether others can see it.
struct Use {
    path: Vec<String>,
    name: String,
    public: bool,
}

/// The code of one file.
struct Code {
    file: String,
    uses: Vec<Use>,
    /// Paths of at least two names in the rest of it.
    paths: Vec<Vec<String>>,
    /// All names in the rest of it.
    names: BTreeSet<String>,
}

/// The files of a crate.
pub(crate) struct Tree {
    modules: BTreeMap<Module, Code>,
}

/// For each file the files that it uses, with a path that shows it.
pub(crate) type Edges = BTreeMap<String, BTreeMap<String, String>>;

impl Tree {
    /// Reads files by their names below `src`, `gpu/mod.rs` for instance.
    pub(crate) fn read<'t>(files: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let (mut modules, mut tests) = (BTreeMap::new(), Vec::new());
        for (file, text) in files {
            let module = module_of(file);
            let (tokens, test_modules) = without_tests(tokens(text));
            tests.extend(test_modules.into_iter().map(|name| [&module[..], &[name]].concat()));
            modules.insert(module, Code::read(file, &tokens));
        }
        modules.retain(|module: &Module, _| !tests.iter().any(|test: &Module| module.starts_with(test)));
        Tree { modules }
    }

    /// Who uses whom.
    pub(crate) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (module, code) in &self.modules {
            let imported = code.uses.iter().filter(|one| !one.public || code.names.contains(&one.name));
            for path in imported.map(|one| &one.path).chain(&code.paths) {
                if let Some(found) = self.resolve(module, path, 0).filter(|found| found != module) {
                    let used = edges.entry(code.file.clone()).or_default();
                    used.entry(self.modules[&found].file.clone()).or_insert_with(|| path.join("::"));
                }
            }
        }
        edges
    }

    /// The file that defines what `path` names in `from`, if it is one of this tree.
    fn resolve(&self, from: &Module, path: &[String], doors: usize) -> Option<Module> {
        let (mut module, mut rest) = self.start(from, path)?;
        while let Some((name, behind)) = rest.split_first() {
            let inner = [&module[..], std::slice::from_ref(name)].concat();
            if !self.modules.contains_key(&inner) {
                break;
            }
            (module, rest) = (inner, behind);
        }
        let code = self.modules.get(&module)?;
        let door = rest.split_first().and_then(|(name, behind)| {
            let door = code.uses.iter().find(|one| one.name == *name).filter(|_| doors < 10)?;
            self.resolve(&module, &[&door.path, behind].concat(), doors + 1)
        });
        Some(door.unwrap_or(module))
    }

    /// The module where a path begins, and the rest of the path.
    fn start<'p>(&self, from: &Module, path: &'p [String]) -> Option<(Module, &'p [String])> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" | "lapidary" => Some((Vec::new(), rest)),
            "self" => Some((from.clone(), rest)),
            "super" => {
                let ups = path.iter().take_while(|name| *name == "super").count();
                Some((from[..from.len().checked_sub(ups)?].to_vec(), &path[ups..]))
            }
            child => {
                let is_child = self.modules.contains_key(&[&from[..], &[child.to_owned()]].concat());
                is_child.then(|| (from.clone(), path))
            }
        }
    }
}

/// The circles: sets of files of which each leads to all others.
pub(crate) fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = edges.keys().map(|file| (file, reach(edges, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, all) in &reached {
        let back = |other: &&&String| reached.get(**other).is_some_and(|theirs| theirs.contains(*file));
        let circle: BTreeSet<String> = all.iter().filter(back).map(|other| (*other).clone()).collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// All files that `file` leads to.
fn reach<'e>(edges: &'e Edges, file: &'e String) -> BTreeSet<&'e String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(next) = open.pop() {
        for other in edges.get(next).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(other) {
                open.push(other);
            }
        }
    }
    found
}

fn module_of(file: &str) -> Module {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = if stem == "lib" { "" } else { stem.strip_suffix("/mod").unwrap_or(stem) };
    stem.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl Code {
    fn read(file: &str, tokens: &[&str]) -> Self {
        let (mut uses, mut paths, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (mut at, mut public) = (0, false);
        while at < tokens.len() {
            match tokens[at] {
                "pub" => {
                    public = true;
                    at += 1;
                    // `pub(in a::b)` says who sees it, and imports nothing.
                    if tokens.get(at) == Some(&"(") {
                        at = behind_bracket(tokens, at);
                    }
                    continue;
                }
                // Not the `use<'a>` of a type.
                "use" if tokens.get(at + 1).is_some_and(|next| *next != "<") => {
                    let end = at + tokens[at..].iter().position(|token| *token == ";").unwrap_or(tokens.len() - at);
                    expand(&tokens[at + 1..end], &[], public, &mut uses);
                    at = end;
                }
                first if is_name(first) => {
                    let mut path = vec![first.to_owned()];
                    while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|next| is_name(next)) {
                        path.push(tokens[at + 2].to_owned());
                        at += 2;
                    }
                    names.insert(first.to_owned());
                    if path.len() > 1 {
                        paths.push(path);
                    }
                }
                _ => {}
            }
            public = false;
            at += 1;
        }
        Code { file: file.to_owned(), uses, paths, names }
    }
}

/// The paths of a tree like `a::{b, c::{self, d as e}}` behind `prefix`.
fn expand(tokens: &[&str], prefix: &[String], public: bool, uses: &mut Vec<Use>) {
    let open = tokens.iter().position(|token| *token == "{");
    let own = tokens[..open.unwrap_or(tokens.len())].iter().filter(|token| **token != "::");
    let mut path: Vec<String> = prefix.iter().cloned().chain(own.map(|token| (*token).to_owned())).collect();
    let Some(open) = open else {
        let renamed = path.iter().position(|name| name == "as").map(|at| path.drain(at..).nth(1));
        if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
            path.pop();
        }
        if let Some(name) = renamed.flatten().or_else(|| path.last().cloned()) {
            uses.push(Use { path, name, public });
        }
        return;
    };
    let (mut depth, mut start) = (0, open + 1);
    for (at, token) in tokens.iter().enumerate().skip(open + 1) {
        match *token {
            "{" => depth += 1,
            "}" if depth > 0 => depth -= 1,
            "," | "}" if depth == 0 => {
                if at > start {
                    expand(&tokens[start..at], &path, public, uses);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The place behind the bracket that closes the one at `at`.
fn behind_bracket(tokens: &[&str], at: usize) -> usize {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tokens.len()
}

/// The tokens without items that only tests have; also the names of modules among these that are files.
pub(crate) fn without_tests(tokens: Vec<&str>) -> (Vec<&str>, Vec<String>) {
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let is_test = |words: &[&str]| tokens[at..].starts_with(words);
        if !is_test(&["#", "[", "cfg", "(", "test", ")"]) && !is_test(&["#", "[", "cfg", "(", "all", "(", "test"]) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        while tokens.get(at) == Some(&"#") {
            at = behind_bracket(&tokens, at + 1);
        }
        // The item ends with a semicolon or with its braces.
        while at < tokens.len() && !matches!(tokens[at], ";" | "{") {
            if tokens[at] == "mod" && tokens.get(at + 2) == Some(&";") {
                modules.push(tokens[at + 1].to_owned());
            }
            at = if matches!(tokens[at], "(" | "[") { behind_bracket(&tokens, at) } else { at + 1 };
        }
        at = if tokens.get(at) == Some(&"{") { behind_bracket(&tokens, at) } else { at + 1 };
    }
    (kept, modules)
}

/// Names, `::` and other characters, without comments, strings and lifetimes.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let name = rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            // A character, or a lifetime, which is no name of ours.
            if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') { quoted(rest, '\'') } else { 2 }
        } else {
            let length = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
            if !first.is_whitespace() {
                found.push(&rest[..length]);
            }
            length
        };
        rest = rest.get(skipped..).unwrap_or("");
    }
    found
}

/// Bytes of a string or character that begins here.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Bytes of a raw string, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let behind = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let content = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end).map_or(content.len(), |at| at + end.len());
    Some(text.len() - content.len() + length)
}

/// Bytes of a comment that begins here; comments may stand in one another.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}
