//! All shader texts, as devices get them.
#![allow(dead_code, reason = "each binary uses its own part")]

use lapidary::testing::gpu::{Imagined, specialize, with_immediates};
use lapidary::testing::kernels::{SHADERS, Shader};
use naga::Module;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::planned::{self, PLANNED, Planned};

/// What naga asks for beyond nothing, and WebGPU has always: packing f16 into words.
const CORE: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;

/// A shader's text: as every device runs it, or with its parts for subgroups; with its parameters in a uniform buffer, or
/// with the commands.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub(crate) shader: &'static Shader,
    pub(crate) subgroups: bool,
    pub(crate) immediates: bool,
}

impl std::ops::Deref for Text {
    type Target = Shader;

    fn deref(&self) -> &Shader {
        self.shader
    }
}

impl Text {
    pub(crate) fn wgsl(&self) -> String {
        let wgsl = self.shader.wgsl(self.subgroups);
        if self.immediates { with_immediates(&wgsl) } else { wgsl }
    }
}

/// All texts with parameters in a uniform buffer: two of the shaders that have parts for subgroups.
pub(crate) fn texts() -> impl Iterator<Item = Text> {
    let both =
        SHADERS.iter().flat_map(|shader| [false, true].map(|subgroups| Text { shader, subgroups, immediates: false }));
    both.filter(|text| !text.subgroups || text.has_subgroups())
}

pub(crate) fn name(text: &Text) -> String {
    let by = if text.subgroups { " by subgroups" } else { "" };
    format!("{} {}", text.stem, text.variant).trim_end().to_string() + by
}

pub(crate) fn parse(shader: &Text) -> Module {
    let wgsl = shader.wgsl();
    naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}:\n{}", name(shader), e.emit_to_string(&wgsl)))
}

/// True for the shaders of the tier of cooperative matrices, which go beyond WebGPU's floor.
pub(crate) fn has_matrices(shader: &Text) -> bool {
    shader.variant.contains("matrix")
}

/// What a shader may use: the plain ones are core WGSL.
pub(crate) fn capabilities(shader: &Text) -> Capabilities {
    let core = if shader.immediates { CORE | Capabilities::IMMEDIATES } else { CORE };
    match (has_matrices(shader), shader.wgsl().starts_with("enable f16;"), shader.subgroups) {
        (true, ..) => core | Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX,
        (_, true, _) => core | Capabilities::SHADER_FLOAT16,
        (_, _, true) => core | Capabilities::SUBGROUP,
        _ => core,
    }
}

pub(crate) fn validate(shader: &Text, module: &Module) -> ModuleInfo {
    Validator::new(ValidationFlags::all(), capabilities(shader))
        .validate(module)
        .unwrap_or_else(|e| panic!("{}: {}", name(shader), e.emit_to_string(&shader.wgsl())))
}

/// What a check is given: what it is called, the module, what naga knows of it, and the device that it was planned on.
pub(crate) struct Case<'a> {
    pub(crate) what: &'a str,
    pub(crate) module: &'a Module,
    pub(crate) info: &'a ModuleInfo,
    pub(crate) device: Imagined,
}

/// Runs `check` on each shader with each set of constants that is planned put in, as devices get it; returns how many there
/// were.
pub(crate) fn for_each(check: impl Fn(&Case)) -> usize {
    for_each_of(|_| true, check)
}

/// As [`for_each`], for the shaders that `wanted` picks.
pub(crate) fn for_each_of(wanted: impl Fn(&Text) -> bool, check: impl Fn(&Case)) -> usize {
    let mut count = 0;
    for text in texts().filter(wanted) {
        for_each_text(&text, planned::of(&PLANNED, &text), |case| {
            check(case);
            count += 1;
        });
    }
    count
}

/// As [`for_each`], for one text with these sets of constants.
pub(crate) fn for_each_text(text: &Text, sets: &[Planned], mut check: impl FnMut(&Case)) {
    let module = parse(text);
    validate(text, &module);
    for planned in sets {
        let what = &format!("{} {:?}", name(text), planned.constants);
        let module = &specialize(&text.wgsl(), &planned.constants).unwrap_or_else(|e| panic!("{what}: {e}")).module;
        let info = &Validator::new(ValidationFlags::all(), capabilities(text))
            .validate(module)
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
        check(&Case { what, module, info, device: planned.device });
    }
}
