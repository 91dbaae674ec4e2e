//! Which names and patterns of a quantization config say something of a matrix. Tools name
//! modules as they held them, which need not be how the file names its tensors: both are compared behind any known prefix.

use std::collections::HashMap;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::entry::{Claim, Entry, QuantizationConfig};
use super::name::{Name, bare};
use crate::error::harmless;

/// What the text model's matrices are called behind, in one tool or another.
const PREFIXES: [&str; 5] = ["model.language_model.", "language_model.model.", "language_model.", "model.", ""];
/// Patterns that are evaluated. Each is compiled as it is met, in so many bytes; one that takes more is given up.
const MOST_PATTERNS: usize = 256;
const PATTERN_BYTES: usize = 1024;
const NFA_BYTES: usize = 32 << 10;
const CACHE_BYTES: usize = 128 << 10;
/// Patterns times names times prefixes: a second at the very most.
const MOST_TRIALS: usize = 16_000_000;
/// Of patterns that are not evaluated, so many different things that they say.
const MOST_VALUES: usize = 64;

/// What a file says of one matrix: where patterns could not be evaluated all that it may say, likeliest first.
#[derive(Debug)]
pub(crate) struct Said {
    /// Widths; 16 and more stand for dense.
    pub(crate) bits: Vec<u32>,
    group_sizes: Vec<Option<usize>>,
    symmetric: Vec<Option<bool>>,
}

impl Said {
    /// The group size of a matrix with `in_features` in `groups`, or the sizes that the file offers and that do not fit.
    pub(crate) fn group_size(&self, in_features: usize, groups: usize) -> Result<usize, &[Option<usize>]> {
        let mut sizes = self.group_sizes.iter().map(|size| size.unwrap_or(in_features));
        sizes.find(|&size| in_features.div_ceil(size) == groups).ok_or(&self.group_sizes)
    }

    /// What the file says of zero points.
    pub(crate) fn claim(&self) -> Claim {
        let all = |claim| self.symmetric.iter().all(|own| *own == claim);
        match (all(Some(true)), all(None)) {
            (true, _) => Claim::Symmetric,
            (_, true) => Claim::Silent,
            _ => Claim::Open,
        }
    }

    /// Whether zero points may be all alike as far as the file says; `default` where it says nothing.
    pub(crate) fn may_be_symmetric(&self, default: bool) -> bool {
        self.symmetric.iter().any(|claim| claim.unwrap_or(default))
    }

    /// What is likeliest.
    pub(crate) fn is_symmetric(&self, default: bool) -> bool {
        self.symmetric[0].unwrap_or(default)
    }
}

/// A pattern that is compiled while it is used.
struct Compiled {
    entry: usize,
    dfa: DFA,
    cache: Cache,
}

impl Compiled {
    /// `None` where the engine refuses the pattern: look-around, back references, or too large.
    fn new(entry: usize, text: &str, anywhere: bool) -> Option<Self> {
        if text.len() > PATTERN_BYTES {
            return None;
        }
        // Python spells the end of the text in another way.
        let text = text.replace(r"\Z", r"\z");
        let text = if anywhere { format!("(?s:.)*?(?:{text})") } else { text };
        let config = DFA::config().cache_capacity(CACHE_BYTES).minimum_cache_clear_count(Some(0));
        let dfa = DFA::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(50))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(NFA_BYTES)))
            .configure(config)
            .build(&text)
            .ok()?;
        let cache = dfa.create_cache();
        Some(Compiled { entry, dfa, cache })
    }

    /// Whether it fits any of `names`; `None` where it is given up.
    fn fits(&mut self, names: &[String]) -> Option<bool> {
        for name in names {
            let input = Input::new(name).anchored(Anchored::Yes).earliest(true);
            if self.dfa.try_search_fwd(&mut self.cache, &input).ok()?.is_some() {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// The first entry of those alike that says something, and the first that leaves a matrix out: no other counts.
#[derive(Default, Clone, Copy)]
struct Firsts([Option<usize>; 2]);

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// It fits no matrix so far.
    Open,
    Fits,
    /// A pattern that was given up.
    GivenUp,
    /// A class of modules.
    Class,
}

/// A matrix that is quantized though an entry leaves it out.
struct LeftOut {
    name: String,
    entry: usize,
}

/// The entries of a configuration, made ready to be asked for many matrices.
pub(crate) struct Rules<'a> {
    pub(crate) config: &'a QuantizationConfig,
    exact: HashMap<&'a str, Firsts>,
    starts: HashMap<&'a str, Firsts>,
    /// Lengths of `starts`.
    lengths: Vec<usize>,
    every: Firsts,
    patterns: Vec<Compiled>,
    /// Entries that may be about any matrix, as far as they say different things.
    maybe: Vec<usize>,
    /// What is known of each entry.
    state: Vec<State>,
    /// Matrices that are quantized though the file leaves them out, and the first.
    left_out: usize,
    first_left_out: Option<LeftOut>,
}

impl<'a> Rules<'a> {
    /// Those of `config`, to be asked for at most `names` matrices.
    pub(crate) fn new(config: &'a QuantizationConfig, names: usize) -> Self {
        let mut rules = Rules {
            config,
            exact: HashMap::new(),
            starts: HashMap::new(),
            lengths: Vec::new(),
            every: Firsts::default(),
            patterns: Vec::new(),
            maybe: Vec::new(),
            state: vec![State::Open; config.entries.len()],
            left_out: 0,
            first_left_out: None,
        };
        let most = MOST_PATTERNS.min(MOST_TRIALS / (names.max(1) * (PREFIXES.len() + 1)));
        for (number, entry) in config.entries.iter().enumerate() {
            let firsts = match &entry.name {
                Name::Exact(name) => rules.exact.entry(name).or_default(),
                Name::Start(start) => rules.starts.entry(start).or_default(),
                Name::Every => &mut rules.every,
                Name::Unknown => {
                    rules.give_up(number, State::Class);
                    continue;
                }
                Name::Pattern { text, anywhere } => {
                    let compiled = Some(()).filter(|()| rules.patterns.len() < most);
                    match compiled.and_then(|()| Compiled::new(number, text, *anywhere)) {
                        Some(compiled) => rules.patterns.push(compiled),
                        None => rules.give_up(number, State::GivenUp),
                    }
                    continue;
                }
            };
            match &mut firsts.0[usize::from(entry.left_out)] {
                Some(_) => rules.state[number] = State::Fits,
                first => *first = Some(number),
            }
        }
        rules.lengths = rules.starts.keys().map(|start| start.len()).collect();
        rules.lengths.sort_unstable();
        rules.lengths.dedup();
        rules
    }

    fn give_up(&mut self, number: usize, state: State) {
        self.state[number] = state;
        let entries = &self.config.entries;
        let says_the_same = |&other: &usize| entries[other].says_as(&entries[number]);
        if self.maybe.len() < MOST_VALUES && !self.maybe.iter().any(says_the_same) {
            self.maybe.push(number);
        }
    }

    /// What the file says of the quantized matrix `name`, its full name in the file without suffix.
    pub(crate) fn said(&mut self, name: &str) -> Said {
        let entries = &self.config.entries;
        let (mut best, mut left_out) = (None, None);
        for number in self.fitting(name) {
            self.state[number] = State::Fits;
            let entry = &entries[number];
            if entry.left_out {
                left_out = Some(number);
            } else if best.is_none_or(|best: usize| entry.rank < entries[best].rank) {
                best = Some(number);
            }
        }
        if let Some(number) = left_out.filter(|_| best.is_none()) {
            self.left_out += 1;
            self.first_left_out.get_or_insert_with(|| LeftOut { name: name.to_owned(), entry: number });
        }
        let config = self.config;
        let mut maybe: Vec<&Entry> = self.maybe.iter().map(|&number| &entries[number]).collect();
        if best.is_none() && config.has_rules_for_all {
            maybe.extend(entries.iter().filter(|entry| !entry.left_out).take(MOST_VALUES));
        }
        let own = best.map(|number| &entries[number]);
        Said {
            bits: collect(config.bits, own, &maybe, |entry| entry.bits),
            group_sizes: collect(config.group_size, own, &maybe, |entry| entry.group_size),
            symmetric: collect(config.sym_claim, own, &maybe, |entry| entry.sym.map(Some)),
        }
    }

    /// Numbers of the entries that fit `name`, in the order of the file.
    fn fitting(&mut self, name: &str) -> Vec<usize> {
        let Spellings { plain, names } = spellings(name);
        let mut firsts = vec![self.every];
        for plain in &plain {
            firsts.extend(self.exact.get(plain.as_str()));
            firsts.extend(self.lengths.iter().filter_map(|&length| self.starts.get(plain.get(..length)?)));
        }
        let mut found: Vec<usize> = firsts.iter().flat_map(|firsts| firsts.0).flatten().collect();
        let mut given_up = Vec::new();
        for pattern in &mut self.patterns {
            match pattern.fits(&names) {
                Some(true) => found.push(pattern.entry),
                Some(false) => {}
                None => given_up.push(pattern.entry),
            }
        }
        self.patterns.retain(|pattern| !given_up.contains(&pattern.entry));
        given_up.into_iter().for_each(|number| self.give_up(number, State::GivenUp));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What to note when every matrix was asked for: entries that fit nothing, of all `names` in the files, and others.
    pub(crate) fn notes<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(LeftOut { name, entry: number }) = &self.first_left_out {
            let (count, key) = (self.left_out, self.config.key(self.config.entries[*number].key));
            notes.push(format!("{count} matrices are quantized, although {key} leaves them out, first {name:?}"));
        }
        if !self.of_state(State::Open).is_empty() {
            const ENDS: [&str; 4] = [".weight", ".qweight", ".weight_packed", "_packed"];
            for base in names.filter_map(|name| ENDS.iter().find_map(|end| name.strip_suffix(end))) {
                self.fitting(base).into_iter().for_each(|number| self.state[number] = State::Fits);
            }
        }
        notes.extend(self.list("fits no tensor", State::Open));
        notes.extend(self.list("is not evaluated: of what it says is taken what fits", State::GivenUp));
        notes
    }

    /// The entries of a state that say something of quantized matrices.
    fn of_state(&self, state: State) -> Vec<&'a Entry> {
        let entries = self.config.entries.iter().zip(&self.state);
        let says = |entry: &Entry| !entry.left_out && entry.bits.is_none_or(|bits| bits < 16);
        entries.filter(|(entry, own)| **own == state && says(entry)).map(|(entry, _)| entry).collect()
    }

    /// One line for all entries of a state, naming the first.
    fn list(&self, what: &str, state: State) -> Option<String> {
        let entries = self.of_state(state);
        let first = entries.first()?;
        let (key, text) = (self.config.key(first.key), harmless(&first.text, 120));
        let more = if entries.len() > 1 { format!("; so {} more", entries.len() - 1) } else { String::new() };
        Some(format!("{key}: \"{text}\" {what}{more}"))
    }
}

/// The value of the entry that fits or else that of all matrices, and those that may be meant.
fn collect<T>(general: T, own: Option<&Entry>, maybe: &[&Entry], value: impl Fn(&Entry) -> Option<T>) -> Vec<T> {
    let first = own.and_then(&value).unwrap_or(general);
    std::iter::once(first).chain(maybe.iter().filter_map(|entry| value(entry))).collect()
}

/// The names that a matrix may have in a configuration.
struct Spellings {
    /// Without prefix.
    plain: Vec<String>,
    /// All of them with each prefix, its own first.
    names: Vec<String>,
}

fn spellings(name: &str) -> Spellings {
    let mut plain = vec![bare(name).to_owned()];
    if plain[0].contains(".moe.experts.") {
        plain.push(plain[0].replacen(".moe.experts.", ".experts.", 1));
    }
    // All experts in one tensor go by the first of them, as the tool may have held it.
    for (fused, single) in
        [("experts.gate_up_proj", "experts.0.gate_proj"), ("experts.down_proj", "experts.0.down_proj")]
    {
        if let Some(start) = plain[plain.len() - 1].strip_suffix(fused) {
            let (whole, single) = (format!("{start}experts"), format!("{start}{single}"));
            plain.extend([whole, single]);
        }
    }
    let with = plain.iter().flat_map(|plain| PREFIXES.map(|prefix| format!("{prefix}{plain}")));
    let names = std::iter::once(name.to_owned()).chain(with.filter(|other| other != name)).collect();
    Spellings { plain, names }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &Name, name: &str) -> bool {
        let entry = Entry { name: pattern.clone(), bits: Some(8), ..Entry::new("dynamic", "", 0) };
        let config = QuantizationConfig { entries: vec![entry], ..QuantizationConfig::plain() };
        Rules::new(&config, 1).said(name).bits == [8]
    }

    #[test]
    fn names_are_compared_behind_any_prefix() {
        let name = "model.language_model.layers.1.mlp.down_proj";
        for pattern in [
            "layers.1.mlp.down_proj",
            r"^model\.layers\.1\.mlp\.down_proj$",
            r"^language_model\.model\.layers\.1\.mlp\.down_proj$",
            r"language_model\.model\.layers\.1\.mlp",
            r"model\.layers\.1\.",
            r".*\.1\..*down.*",
            r"language_model\.model\.layers\.(0|1)\.mlp\.(down|up)_proj",
            r"model\.layers\.\d+\.mlp\.down_proj\Z",
            r"(?:.*)layers\.[0-9]\.mlp",
            r"^model\.model\.layers\.\d+\.mlp",
            r"\Abase_model\.model\.model\.layers\.(1|3)\.mlp",
            r"_orig_mod.model.layers.[1].mlp",
        ] {
            assert!(fits(&Name::matched(pattern), name), "{pattern}");
            assert!(!fits(&Name::matched(pattern), "model.language_model.layers.2.self_attn.q_proj"), "{pattern}");
            assert!(!fits(&Name::matched(pattern), "model.vision_tower.layers.1.self_attn.q_proj"), "{pattern}");
        }
        // From the start on, or anywhere; `layers.1` begins `layers.10`, unless the pattern ends.
        assert!(!fits(&Name::matched(r"mlp\.down_proj"), name) && fits(&Name::found(r"mlp\.down_proj"), name));
        assert!(fits(&Name::matched(r"model\.layers\.1"), "model.layers.10.mlp.up_proj"));
        assert!(!fits(&Name::matched(r"model\.layers\.1$"), "model.layers.1.mlp.up_proj"));
        assert!(!fits(&Name::found("mlp.down_proj"), name) && fits(&Name::found("model.layers.1.mlp.down_proj"), name));
        assert!(fits(&Name::found(r"layers\.1\..*proj$"), name) && !fits(&Name::found(r"^layers\.2"), name));
        assert!(fits(&Name::exact("model.layers.0.experts.3.up_proj"), "model.layers.0.moe.experts.3.up_proj"));
        assert!(fits(&Name::matched(r".*experts\.\d+\.gate_proj"), "model.layers.0.experts.gate_up_proj"));
        assert!(fits(&Name::exact("lm_head"), "model.lm_head"));
    }

    /// What Python's engine takes minutes for is given up or done at once.
    #[test]
    fn hostile_patterns_end() {
        let name = format!("model.layers.0.{}", "a".repeat(200));
        for pattern in [
            "(a+)+$".to_owned(),
            "(.*a){25}b".to_owned(),
            "(.*)*(.*)*x".to_owned(),
            ".*a.{300}z".to_owned(),
            "(?=a)b".to_owned(),
            "(".repeat(900),
            "a{1000}{1000}".to_owned(),
            "(a|aa)*".repeat(100),
            r"\p{L}*".to_owned(),
            "[".to_owned(),
        ] {
            let entries: Vec<Entry> = (0..2000)
                .map(|_| Entry { name: Name::matched(&pattern), bits: Some(8), ..Entry::new("dynamic", &pattern, 0) })
                .collect();
            let config = QuantizationConfig { entries, ..QuantizationConfig::plain() };
            let mut rules = Rules::new(&config, 300);
            (0..10).for_each(|_| drop(rules.said(&name)));
            assert!(rules.patterns.len() <= MOST_PATTERNS && rules.notes(std::iter::once("x")).len() <= 2, "{pattern}");
        }
    }
}
