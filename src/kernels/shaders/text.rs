//! All shaders in all variants.

use std::sync::LazyLock;

use super::bindings::{Declared, bindings};
use super::compose::{compose, variants};
use super::library::{Library, Snippet};
use super::parameters::parameters;
use super::rules::SUBGROUPS;
use crate::gpu::PipelineKey;
use crate::kernels::Parameter;

/// One shader text: a stem in one of its variants.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem in `shaders/`.
    pub stem: &'static str,
    /// The words of its variant: how weights are stored, what is rounded, what multiplies, what else it does.
    pub variant: &'static str,
    plain: Text,
    /// With the parts for subgroups, where it has some.
    by_subgroups: Option<Text>,
}

/// What a text is made of, the buffers that it binds and the parameters that it reads.
#[derive(Debug)]
struct Text {
    parts: Vec<&'static str>,
    bindings: Vec<Declared>,
    parameters: Vec<Parameter>,
}

impl Text {
    fn of(parts: &[&Snippet]) -> Self {
        Text {
            parts: parts.iter().map(|part| part.wgsl).collect(),
            bindings: bindings(parts),
            parameters: parameters(parts),
        }
    }
}

impl Shader {
    fn new(library: &Library, stem: &Snippet, words: &[&'static str]) -> Self {
        let parts = |words: &[&str]| compose(library, stem, words).expect("variants can be composed");
        let with_subgroups = parts(&[words, &[SUBGROUPS]].concat());
        let has_subgroups = with_subgroups.iter().any(|part| part.head.when.contains(&SUBGROUPS));
        Shader {
            stem: stem.name,
            // Made once: the list of shaders lasts as long as the program.
            variant: Box::leak(words.join(" ").into_boxed_str()),
            plain: Text::of(&parts(words)),
            by_subgroups: has_subgroups.then(|| Text::of(&with_subgroups)),
        }
    }

    /// The whole WGSL text, with the parts for subgroups where it has some and they are wanted.
    pub fn wgsl(&self, subgroups: bool) -> String {
        self.text(subgroups).parts.join("\n")
    }

    /// Whether it has parts for subgroups.
    pub fn has_subgroups(&self) -> bool {
        self.by_subgroups.is_some()
    }

    /// The buffers that it declares and uses with any constants.
    pub(in crate::kernels) fn bindings(&self, subgroups: bool) -> &[Declared] {
        &self.text(subgroups).bindings
    }

    /// The members of its struct of parameters.
    pub(in crate::kernels) fn parameters(&self, subgroups: bool) -> &[Parameter] {
        &self.text(subgroups).parameters
    }

    fn text(&self, subgroups: bool) -> &Text {
        self.by_subgroups.as_ref().filter(|_| subgroups).unwrap_or(&self.plain)
    }
}

/// Every shader in every variant.
pub static SHADERS: LazyLock<Vec<Shader>> = LazyLock::new(|| {
    let library = Library::read();
    let of_stem = |stem| variants(&library, stem).into_iter().map(move |words| (stem, words));
    library.stems.iter().flat_map(of_stem).map(|(stem, words)| Shader::new(&library, stem, &words)).collect()
});

/// A text that changes with the program's version and with any shader.
pub(crate) fn version() -> String {
    let mut text = env!("CARGO_PKG_VERSION").to_owned();
    for shader in SHADERS.iter() {
        text.push_str(&shader.wgsl(false));
        text.push_str(&shader.wgsl(true));
    }
    text
}

/// The text for a key, with parameters in a uniform buffer: [`crate::gpu::pipeline::with_immediates`] gives the other.
///
/// # Panics
/// If no shader of [`SHADERS`] has the key's stem and variant.
pub fn source(key: &PipelineKey) -> String {
    find(key).wgsl(has_subgroups(key))
}

/// Whether a key names the text with the parts for subgroups.
pub(in crate::kernels) fn has_subgroups(key: &PipelineKey) -> bool {
    key.constants.iter().any(|(name, _)| *name == SUBGROUP)
}

/// The shader that a key names.
pub(in crate::kernels) fn find(key: &PipelineKey) -> &'static Shader {
    let named = |s: &&Shader| s.stem == key.stem && s.variant == key.variant;
    SHADERS.iter().find(named).unwrap_or_else(|| panic!("shader {} has no variant \"{}\"", key.stem, key.variant))
}

/// The constant that stands where lanes add up within subgroups: how many lanes the smallest one has.
pub const SUBGROUP: &str = "SUBGROUP";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::gpu::specialize::specialize;

    fn outputs(shader: &Shader, subgroups: bool) -> Vec<&'static str> {
        let outputs = shader.bindings(subgroups).iter().filter(|one| one.is_float_output);
        outputs.map(|one| one.name).collect()
    }

    #[test]
    fn outputs_are_found_in_the_text() {
        let outputs_of = |stem: &str, variant: &str| {
            let shader = SHADERS.iter().find(|s| s.stem == stem && s.variant == variant).unwrap();
            outputs(shader, false)
        };
        assert_eq!(outputs_of("matvec", "packed"), ["y"]);
        assert_eq!(outputs_of("matvec", "packed rounding beside product"), ["y", "beside_y"]);
        assert_eq!(outputs_of("add_norm", "rounded twice"), ["h", "y0", "y1", "y2"]);
        assert_eq!(outputs_of("attention", ""), ["out"]);
        assert!(outputs_of("kv_store", "").is_empty() && outputs_of("argmax", "").is_empty());
        // Each kernel of a body but those that make codes, lists or choices has one.
        // Queries of chunks are words, in f32 or f16: what attention makes of them shows it.
        let others = [
            "int8_by_32",
            "int8_by_16",
            "kv_store",
            "moe_group",
            "argmax",
            "suppress",
            "strip_max",
            "sample",
            "head_norm_rope",
        ];
        for shader in SHADERS.iter().filter(|s| !others.contains(&s.stem)) {
            let is_whole = ["fill_random", "copy_words", "not_finite"].contains(&shader.stem);
            assert_eq!(outputs(shader, true).is_empty(), is_whole, "{} {:?}", shader.stem, shader.variant);
        }
    }

    /// A head changes neither what is compiled nor what is kept for a version.
    #[test]
    fn heads_are_no_part_of_texts() {
        let library = Library::read();
        for snippet in library.common.iter().chain(&library.stems) {
            assert!(!snippet.wgsl.starts_with(['\n', ' ']), "{}.wgsl: one empty line behind the head", snippet.name);
        }
        assert!(
            ["// part: ", "// needs ", "// gives "].iter().all(|line| !version().contains(line)),
            "a line of a head"
        );
    }

    /// What heads and lines say of a text is what naga finds in it: the buffers that its entry point uses.
    #[test]
    fn bindings_are_those_of_the_text() {
        for shader in SHADERS.iter() {
            for subgroups in [false, true] {
                let found = specialize(&shader.wgsl(subgroups), &[]).unwrap().bindings;
                let found: Vec<u32> = found.iter().map(|(number, _)| *number).collect();
                let declared: Vec<u32> = shader.bindings(subgroups).iter().map(|one| one.number).collect();
                assert_eq!(declared, found, "{} {:?}, subgroups: {subgroups}", shader.stem, shader.variant);
            }
        }
    }
}
