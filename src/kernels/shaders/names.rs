//! Whether the heads are true: the names that each file declares and uses, read from its text.

use std::collections::BTreeSet;

use super::compose::{compose, variants};
use super::head::{AROUND, Given};
use super::library::{Library, Snippet};
use super::rules::SUBGROUPS;

/// The names of a text at its outermost level.
#[derive(Debug, Default)]
struct Names {
    declared: BTreeSet<Given>,
    /// What it uses without declaring it: names of others, and those of the language.
    free: BTreeSet<&'static str>,
}

const KEYWORDS: [&str; 14] = [
    "let", "var", "const", "for", "if", "else", "return", "while", "loop", "break", "continue", "switch", "case",
    "default",
];

/// Reads WGSL as these shaders have it, token by token.
struct Reader {
    tokens: Vec<&'static str>,
    at: usize,
    names: Names,
    /// Names of the function that is being read, by block.
    scopes: Vec<Scope>,
}

#[derive(Debug, Default)]
struct Scope {
    names: BTreeSet<&'static str>,
    /// That of a loop's counter, which ends with the loop's block.
    is_for: bool,
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn tokens(wgsl: &'static str) -> Vec<&'static str> {
    let mut tokens = Vec::new();
    for line in wgsl.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (first.is_ascii_digit() && c == '.');
            let end = if is_part(first) { rest.find(|c| !is_part(c)).unwrap_or(rest.len()) } else { 1 };
            tokens.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
    }
    tokens
}

impl Reader {
    fn read(wgsl: &'static str) -> Names {
        let mut reader = Reader { tokens: tokens(wgsl), at: 0, names: Names::default(), scopes: Vec::new() };
        while reader.at < reader.tokens.len() {
            reader.declaration();
        }
        let Names { declared, mut free } = reader.names;
        free.retain(|name| declared.iter().all(|given| given.name != *name));
        Names { declared, free }
    }

    fn token(&self) -> &'static str {
        self.tokens.get(self.at).copied().unwrap_or_else(|| panic!("a text ends within a declaration"))
    }

    fn next(&mut self) -> &'static str {
        self.at += 1;
        self.tokens[self.at - 1]
    }

    /// Reads on behind `end`; what comes before it is used.
    fn use_until(&mut self, end: &str) {
        while self.token() != end {
            self.use_token();
        }
        self.at += 1;
    }

    /// Reads on behind what `open` begins.
    fn skip(&mut self, open: &str, close: &str) {
        if self.token() == open {
            while self.next() != close {}
        }
    }

    fn use_token(&mut self) {
        if self.token() == "@" {
            return self.attribute();
        }
        let is_member = self.at > 0 && self.tokens[self.at - 1] == ".";
        let token = self.next();
        let is_local = self.scopes.iter().any(|scope| scope.names.contains(token));
        if is_name(token) && !is_member && !is_local && !KEYWORDS.contains(&token) {
            self.names.free.insert(token);
            if token.starts_with("coop") {
                self.names.free.insert("wgpu_cooperative_matrix");
            }
        }
    }

    /// Of attributes `@workgroup_size` alone takes names that shaders declare.
    fn attribute(&mut self) {
        self.at += 1;
        match self.next() {
            "workgroup_size" => self.use_until(")"),
            "compute" => {}
            _ => self.skip("(", ")"),
        }
    }

    fn declare(&mut self, kind: &'static str) {
        let name = self.next();
        assert!(self.names.declared.insert(Given { kind, name }), "{name} is declared twice");
    }

    fn declaration(&mut self) {
        match self.token() {
            "@" => return self.attribute(),
            ";" => {
                self.at += 1;
                return;
            }
            _ => {}
        }
        let kind = self.next();
        match kind {
            "enable" | "const" | "override" | "alias" => {
                self.declare(kind);
                self.use_until(";");
            }
            "var" => {
                self.skip("<", ">");
                self.declare(kind);
                self.use_until(";");
            }
            "struct" => {
                self.declare(kind);
                while self.token() != "}" {
                    let is_member = self.tokens.get(self.at + 1) == Some(&":");
                    if is_member { self.at += 1 } else { self.use_token() }
                }
                self.at += 1;
            }
            "fn" => {
                self.declare(kind);
                self.function();
            }
            other => panic!("\"{other}\" begins no declaration that is known here"),
        }
    }

    fn function(&mut self) {
        let mut parameters = Scope::default();
        self.at += 1;
        while self.token() != ")" {
            if is_name(self.token()) && self.tokens[self.at + 1] == ":" {
                parameters.names.insert(self.next());
            } else {
                self.use_token();
            }
        }
        self.use_until("{");
        self.scopes = vec![parameters, Scope::default()];
        // A name is there behind the statement that declares it.
        let mut declared = None;
        while self.scopes.len() > 1 {
            match self.token() {
                "{" => self.scopes.push(Scope::default()),
                "}" => {
                    self.scopes.pop();
                    self.scopes.pop_if(|scope| scope.is_for);
                }
                "for" => self.scopes.push(Scope { is_for: true, ..Scope::default() }),
                "let" | "var" | "const" => {
                    self.at += 1;
                    self.skip("<", ">");
                    declared = Some(self.token());
                }
                ";" => {
                    let scope = self.scopes.last_mut().expect("that of the block");
                    scope.names.extend(declared.take());
                }
                _ => {
                    self.use_token();
                    continue;
                }
            }
            self.at += 1;
        }
        self.scopes.clear();
    }
}

/// All texts by their parts, the stem last.
fn texts(library: &Library) -> Vec<Vec<&Snippet>> {
    let mut texts = Vec::new();
    for stem in &library.stems {
        for words in variants(library, stem) {
            for more in [&[][..], &[SUBGROUPS]] {
                texts.push(compose(library, stem, &[&words, more].concat()).expect("a variant"));
            }
        }
    }
    texts
}

fn needed(snippet: &Snippet) -> Vec<&'static str> {
    snippet.head.needs.iter().flat_map(|need| need.names.iter().copied()).collect()
}

#[test]
fn files_give_what_their_heads_say() {
    let library = Library::read();
    for snippet in library.common.iter().chain(&library.stems) {
        let Names { declared, .. } = Reader::read(snippet.wgsl);
        let said: BTreeSet<Given> = snippet.head.gives.iter().copied().collect();
        assert_eq!(said, declared, "{}.wgsl: what it says that it gives, and what it declares", snippet.name);
        assert_eq!(said.len(), snippet.head.gives.len(), "{}.wgsl: gives a name twice", snippet.name);
    }
}

/// Each name that a file uses and another part of a text declares is in its head, and nothing else is.
#[test]
fn files_need_what_their_heads_say() {
    let library = Library::read();
    for parts in texts(&library) {
        let text = || parts.iter().map(|part| part.name).collect::<Vec<_>>().join(" ");
        let has_main = |snippet: &Snippet| snippet.head.has("main");
        let (stem, common) = parts.split_last().expect("a stem");
        assert_eq!(parts.iter().filter(|part| has_main(part)).count(), 1, "one entry point in {}", text());
        for snippet in &parts {
            let mut used = Reader::read(snippet.wgsl).free;
            if snippet.name == stem.name && common.iter().any(|part| has_main(part)) {
                used.insert("main");
            }
            let of_others = |name: &&str| parts.iter().any(|part| part.name != snippet.name && part.head.has(name));
            let found: BTreeSet<&str> = used.into_iter().filter(of_others).collect();
            let said = needed(snippet);
            assert_eq!(
                said.iter().copied().collect::<BTreeSet<_>>(),
                found,
                "{}.wgsl: what it says that it needs, and what it uses of others in {}",
                snippet.name,
                text(),
            );
            assert_eq!(said.len(), found.len(), "{}.wgsl: needs a name twice", snippet.name);
        }
    }
}

/// Where one part alone gives a name, heads say which; and what a part brings is needed of it somewhere.
#[test]
fn heads_are_as_narrow_as_can_be() {
    let library = Library::read();
    let texts = texts(&library);
    for snippet in library.common.iter().chain(&library.stems) {
        let own = || texts.iter().filter(|parts| parts.iter().any(|part| part.name == snippet.name));
        let around = snippet.head.needs.iter().filter(|need| need.part == AROUND).flat_map(|need| &need.names);
        for name in around {
            let gives = |part: &&&Snippet| part.name != snippet.name && part.head.has(name);
            let givers: BTreeSet<_> =
                own().flat_map(|parts| parts.iter().find(gives)).map(|part| part.head.part).collect();
            let only = givers.iter().next().copied().flatten().filter(|_| givers.len() == 1);
            assert_eq!(only, None, "{}.wgsl: this part alone gives {name}, which it says is around", snippet.name);
        }
        for &brought in &snippet.head.brings {
            let is_needed = own().any(|parts| {
                let is_given =
                    |name: &&str| parts.iter().any(|part| part.head.part == Some(brought) && part.head.has(name));
                let needs = parts.iter().flat_map(|part| &part.head.needs);
                needs
                    .filter(|need| Some(need.part) == snippet.head.part)
                    .any(|need| need.names.iter().any(|n| is_given(&n)))
            });
            assert!(is_needed, "{}.wgsl brings {brought}, which nobody needs of it", snippet.name);
        }
    }
}

/// No name is declared twice in a text, whichever files are put together.
#[test]
fn parts_of_a_text_share_no_name() {
    for parts in texts(&Library::read()) {
        let mut seen = BTreeSet::new();
        for (part, given) in parts.iter().flat_map(|part| part.head.gives.iter().map(move |given| (part, given))) {
            assert!(seen.insert(given.name), "{} declares {} again", part.name, given.name);
        }
    }
}

/// A part that several files may be is one of theirs alone, and a file that is the only one goes by its name.
#[test]
fn parts_are_told_apart() {
    let library = Library::read();
    for snippet in &library.common {
        let part = snippet.head.part.unwrap_or_else(|| panic!("{}.wgsl is no part", snippet.name));
        let others: Vec<_> = library.common.iter().filter(|other| other.head.part == Some(part)).collect();
        let defaults = others.iter().filter(|other| other.head.when.is_empty()).count();
        assert!(defaults <= 1, "{part}: {defaults} files that no word picks");
        assert!(others.len() > 1 || part == snippet.name, "{}.wgsl alone is \"{part}\"", snippet.name);
        let twice = |word| others.iter().filter(|other| other.head.when.contains(word)).count() > 1;
        assert!(!snippet.head.when.iter().any(twice), "{part}: a word picks two files");
        let named = |part: &&str| library.common.iter().any(|other| other.head.part == Some(*part));
        assert!(snippet.head.brings.iter().all(named), "{}.wgsl brings what is not there", snippet.name);
    }
    assert!(
        library.stems.iter().all(|stem| stem.head.part.is_none() && stem.head.when.is_empty()),
        "stems are no parts"
    );
}

#[test]
fn names_are_read_by_their_scopes() {
    let names = Reader::read(
        "enable f16;
        override N: u32 = 4; // of rows
        struct S { a: T, b: array<f16, N> }
        var<workgroup> w: array<f32, M>;
        @compute @workgroup_size(THREADS)
        fn f(@builtin(workgroup_id) p: vec3<u32>, q: ptr<function, S>) -> R {
            let outer = outer + p.x;
            for (var i = 0u; i < N; i++) { let inner = g(i, outer); }
            w[i] = inner.member;
        }",
    );
    let declared: Vec<_> = names.declared.iter().map(|given| (given.kind, given.name)).collect();
    assert_eq!(declared, [("enable", "f16"), ("fn", "f"), ("override", "N"), ("struct", "S"), ("var", "w")]);
    let known = ["array", "f32", "function", "ptr", "u32", "vec3"];
    let free: Vec<_> = names.free.into_iter().filter(|name| !known.contains(name)).collect();
    // Behind its loop the counter is another's name, and a name is not there yet where it is declared.
    assert_eq!(free, ["M", "R", "T", "THREADS", "g", "i", "inner", "outer"]);
}
