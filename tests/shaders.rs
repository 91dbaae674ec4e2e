//! Every shader in every variant and with every set of constants, without a GPU: valid WGSL, translatable to SPIR-V, MSL
//! and HLSL, within WebGPU's limits, and with the field offsets that the host writes.

use std::collections::BTreeSet;

use lapidary::gpu::specialize;
use lapidary::kernels::{self, SHADERS, Shader};
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};

/// WebGPU's limits, which the plain kernels keep.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
const MAX_INVOCATIONS: u32 = 256;

/// What naga asks for beyond nothing, and WebGPU has always: packing f16 into words.
const CORE: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;

type Fields = &'static [(&'static str, usize)];

/// Offsets of the host's parameters for a shader.
fn fields(stem: &str) -> Fields {
    match stem {
        "matvec" | "matmul" | "matmul_grouped" => kernels::product::FIELDS,
        "embed" => kernels::embed::FIELDS,
        "rms_norm" => kernels::rms_norm::FIELDS,
        "round" => kernels::rounded::FIELDS,
        "add_norm" => kernels::add_norm::FIELDS,
        "moe_combine" => kernels::moe_combine::FIELDS,
        "moe_group" => kernels::moe_group::FIELDS,
        "moe_sum" => kernels::moe_sum::FIELDS,
        "not_finite" => kernels::not_finite::FIELDS,
        "quantize_rows" => kernels::quantize_rows::FIELDS,
        "sum_shares" => kernels::sum_shares::FIELDS,
        "round_rows" => kernels::round_rows::FIELDS,
        "per_layer_inputs" => kernels::per_layer_inputs::FIELDS,
        "gelu_mul" => kernels::gelu_mul::FIELDS,
        "head_norm_rope" => kernels::head_norm_rope::FIELDS,
        "kv_store" => kernels::kv_store::FIELDS,
        "attention" => kernels::attention::FIELDS,
        "attention_tile" => kernels::attention_tile::FIELDS,
        "attention_matrix" => kernels::attention_matrix::FIELDS,
        "attention_join" => kernels::attention_join::FIELDS,
        "gather_rows" => kernels::gather_rows::FIELDS,
        "argmax" => kernels::argmax::FIELDS,
        // All of its parameters are constants.
        "router" => &[],
        "suppress" => kernels::suppress::FIELDS,
        "strip_max" => kernels::strip_max::FIELDS,
        "sample" => kernels::sample::FIELDS,
        "fill_random" => kernels::fill_random::FIELDS,
        "copy_words" => kernels::copy_words::FIELDS,
        other => panic!("{other}: a shader without parameters known to this test"),
    }
}

/// The values that the host gives each `override` constant.
fn values(constant: &str) -> &'static [u32] {
    match constant {
        "DTYPE" | "SCALE_DTYPE" => &[0, 1, 2],
        "BITS" => &[4, 8],
        "GROUP_SIZE" => &[32, 2112],
        "PER_ROW" | "HAS_ZEROS" | "EXPERTS" | "TO_CACHE" | "FROM_CACHE" | "SUMMED" | "CLEAR" | "GATED" | "SUM"
        | "ADD" | "WHOLE" | "STORES" | "LAST" | "DIRECT" | "AHEAD" | "INTERLEAVED" | "SQUARES" => &[0, 1],
        "RUN" => &[1, 8, 32],
        "LANES" => &[1, 16, 64],
        "LANE_ROWS" => &[2, 4],
        "CHUNKS" => &[0, 22, 88],
        "SLOTS" => &[1, 8],
        "SUBGROUP" => &[8, 32],
        "THREADS" => &[64, 16, 256],
        "HEADS" => &[1, 2, 4],
        // Of 4 heads of 512 dimensions, which take the most.
        "ROOM" => &[768],
        "UNITS" => &[384],
        "ROUNDS" => &[1, 3],
        "KV_DTYPE" => &[0, 1, 2],
        "Q_SIDE" => &[16, 8],
        "LINES" => &[64, 32],
        "KEYS" => &[32, 64],
        "STAGE" => &[784],
        "HEAD_DIM" => &[16, 512],
        "BLOCK" => &[32],
        "SPLITS" => &[1, 64],
        "HELD" => &[0, 3, 6],
        "COLUMNS" => &[16],
        "PLACES" => &[16, 64],
        "BESIDE" => &[1, 128],
        "X_ROWS" => &[1, 2, 4],
        "WIDTH" => &[33, 2816],
        "LANES_T" | "LANES_N" => &[8],
        "ROWS" => &[8],
        "K_STEP" => &[16, 32],
        "BLOCKS_T" => &[2, 1],
        "BLOCKS_N" => &[2, 4],
        "ACROSS" => &[4, 2],
        "MATRIX_LANES" => &[128, 64, 256],
        "CELLS_X" | "CELLS_W" => &[640, 1280],
        "RESULTS" => &[1024],
        "SHARES" => &[1, 8],
        "SHARE_ROWS" => &[2048],
        "SCALES_X" | "SCALES_W" => &[128, 256],
        // Of the product of many rows with 8 rows a lane, which is the larger.
        "QUADS_X" => &[320],
        "QUADS_W" => &[320],
        "X_REPEAT" => &[8],
        "TILE_T" => &[32],
        "N_EXPERTS" => &[8, 128],
        "TOP_K" => &[2, 8],
        "PARTS" | "LANE_QUADS" => &[1, 2],
        "PART_QUADS" => &[2, 16],
        "STRIPS" => &[4, 4096],
        "PLACE_BITS" => &[8, 18, 31],
        "OUTPUTS" => &[0, 1, 2, 3],
        "BESIDE_DTYPE" => &[0, 1, 2],
        "BESIDE_QUADS" | "BESIDE_X" | "BESIDE_Y" => &[8, 704],
        "LOGIT_QUADS" => &[2, 32],
        "COUNTS" => &[8, 256],
        other => panic!("override {other}: a constant whose values this test does not know"),
    }
}

/// A shader's text: as every device runs it, or with its parts for subgroups.
#[derive(Clone, Copy)]
struct Text {
    shader: &'static Shader,
    subgroups: bool,
}

impl std::ops::Deref for Text {
    type Target = Shader;

    fn deref(&self) -> &Shader {
        self.shader
    }
}

impl Text {
    fn wgsl(&self) -> String {
        self.shader.wgsl(self.subgroups)
    }
}

/// All texts: two of the shaders that have parts for subgroups.
fn texts() -> impl Iterator<Item = Text> {
    let both = SHADERS.iter().flat_map(|shader| [false, true].map(|subgroups| Text { shader, subgroups }));
    both.filter(|text| !text.subgroups || text.has_subgroups())
}

fn name(text: &Text) -> String {
    let by = if text.subgroups { " by subgroups" } else { "" };
    format!("{} {}", text.stem, text.variant).trim_end().to_string() + by
}

fn parse(shader: &Text) -> Module {
    let wgsl = shader.wgsl();
    naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}:\n{}", name(shader), e.emit_to_string(&wgsl)))
}

/// True for the shaders of the tier of cooperative matrices, which go beyond WebGPU's floor.
fn has_matrices(shader: &Text) -> bool {
    shader.variant.contains("matrix")
}

/// What a shader may use: the plain ones are core WGSL.
fn capabilities(shader: &Text) -> Capabilities {
    match (has_matrices(shader), shader.wgsl().starts_with("enable f16;"), shader.subgroups) {
        (true, ..) => CORE | Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX,
        (_, true, _) => CORE | Capabilities::SHADER_FLOAT16,
        (_, _, true) => CORE | Capabilities::SUBGROUP,
        _ => CORE,
    }
}

fn validate(shader: &Text, module: &Module) -> ModuleInfo {
    Validator::new(ValidationFlags::all(), capabilities(shader))
        .validate(module)
        .unwrap_or_else(|e| panic!("{}: {}", name(shader), e.emit_to_string(&shader.wgsl())))
}

/// Combinations of values of the shader's `override` constants: all where they are few, else every pair of values of every
/// two constants, the others at their first value.
fn combinations(module: &Module) -> BTreeSet<Vec<(String, u32)>> {
    let names: Vec<&String> =
        module.overrides.iter().map(|(_, constant)| constant.name.as_ref().expect("overrides have names")).collect();
    let with = |chosen: &[(usize, u32)]| -> Vec<(String, u32)> {
        let value = |i: usize| chosen.iter().find(|(at, _)| *at == i).map_or(values(names[i])[0], |(_, value)| *value);
        names.iter().enumerate().map(|(i, name)| ((*name).clone(), value(i))).collect()
    };
    let sizes = names.iter().map(|name| values(name).len());
    if sizes.product::<usize>() > 1000 {
        let mut pairs = BTreeSet::new();
        for (i, j) in (0..names.len()).flat_map(|i| (0..i).map(move |j| (i, j))) {
            for &a in values(names[i]) {
                pairs.extend(values(names[j]).iter().map(|&b| with(&[(i, a), (j, b)])));
            }
        }
        return pairs;
    }
    let mut all = vec![Vec::new()];
    for (i, name) in names.iter().enumerate() {
        let extended = |chosen: &Vec<(usize, u32)>| {
            let chosen = chosen.clone();
            values(name).iter().map(move |&value| [chosen.clone(), vec![(i, value)]].concat()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(extended).collect();
    }
    all.iter().map(|chosen| with(chosen)).collect()
}

/// Attention has a lane for each position of a block at least; rounded tiles read whole chunks of 32.
fn is_possible(constants: &[(String, u32)]) -> bool {
    let value = |wanted: &str| constants.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let is_rounded = value("ACROSS").or(value("SCALES_X")).is_some();
    !(is_rounded && value("K_STEP") == Some(16))
        && value("BLOCK").is_none_or(|block| value("THREADS").is_none_or(|threads| threads >= block))
}

/// Runs `check` on each shader with each combination of constants put in, as devices get it; returns how many there were.
fn for_each(check: impl Fn(&str, &Module, &ModuleInfo)) -> usize {
    for_each_of(|_| true, check)
}

/// As [`for_each`], for the shaders that `wanted` picks.
fn for_each_of(wanted: impl Fn(&Text) -> bool, check: impl Fn(&str, &Module, &ModuleInfo)) -> usize {
    let mut count = 0;
    for shader in &texts().filter(wanted).collect::<Vec<_>>() {
        let module = parse(shader);
        validate(shader, &module);
        for constants in combinations(&module).into_iter().filter(|constants| is_possible(constants)) {
            let what = format!("{} {constants:?}", name(shader));
            let given: Vec<_> = constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let module = specialize(&shader.wgsl(), &given).unwrap_or_else(|e| panic!("{what}: {e}")).module;
            let info = Validator::new(ValidationFlags::all(), capabilities(shader))
                .validate(&module)
                .unwrap_or_else(|e| panic!("{what}: {e:?}"));
            check(&what, &module, &info);
            count += 1;
        }
    }
    count
}

#[test]
fn table_has_every_file() {
    let files: BTreeSet<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders"))
        .expect("the folder of shaders")
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "wgsl"))
        .map(|path| path.file_stem().expect("a file").to_string_lossy().into_owned())
        .collect();
    let table: BTreeSet<String> = SHADERS.iter().map(|s| s.stem.to_string()).collect();
    assert_eq!(files, table, "shaders/*.wgsl and kernels::SHADERS");
    let distinct: BTreeSet<String> = texts().map(|text| name(&text)).collect();
    assert_eq!(distinct.len(), texts().count(), "a stem and variant stand twice in kernels::SHADERS");
}

#[test]
fn every_common_file_is_used() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/common")).expect("the folder") {
        let path = entry.expect("a folder entry").path();
        let text = std::fs::read_to_string(&path).expect("a shader");
        assert!(texts().any(|s| s.wgsl().contains(&text)), "{}: no shader includes it", path.display());
    }
}

#[test]
fn parameters_have_the_hosts_offsets() {
    for shader in &texts().collect::<Vec<_>>() {
        let module = parse(shader);
        if !fields(shader.stem).is_empty() {
            compare_struct(shader, &module, "Params", fields(shader.stem), true);
        }
        if shader.wgsl().contains("struct Row {") {
            compare_struct(shader, &module, "Row", kernels::STEP_ROW_FIELDS, false);
        }
        if shader.wgsl().contains("struct Draw {") {
            compare_struct(shader, &module, "Draw", kernels::sample::DRAW_FIELDS, true);
        }
    }
    assert_eq!(std::mem::size_of::<kernels::StepRow>(), 32, "the shaders' rows are 32 bytes");
}

/// Members of a WGSL struct against the host's table; members called `pad` need no twin.
fn compare_struct(shader: &Text, module: &Module, which: &str, host: Fields, is_all: bool) {
    let (_, found) = module
        .types
        .iter()
        .find(|(_, t)| t.name.as_deref() == Some(which))
        .unwrap_or_else(|| panic!("{}: no struct {which}", name(shader)));
    let TypeInner::Struct { members, span } = &found.inner else { panic!("{}: {which} is no struct", name(shader)) };
    let shown: Vec<(String, usize)> = members
        .iter()
        .map(|m| (m.name.clone().expect("members have names"), m.offset as usize))
        .filter(|(name, _)| !name.starts_with("pad"))
        .collect();
    let expected: Vec<(String, usize)> = host.iter().map(|&(name, offset)| (name.to_string(), offset)).collect();
    assert_eq!(shown, expected, "{}: {which} in WGSL and on the host", name(shader));
    for member in members {
        let scalar = matches!(module.types[member.ty].inner, TypeInner::Scalar(s) if s.width == 4);
        assert!(scalar, "{}: {which}.{:?} is not a 32-bit scalar", name(shader), member.name);
    }
    if is_all {
        assert_eq!(*span as usize, 4 * host.len(), "{}: bytes of {which}", name(shader));
    } else {
        assert_eq!(*span as usize, std::mem::size_of::<kernels::StepRow>(), "{}: bytes of {which}", name(shader));
    }
}

#[test]
fn bindings_are_portable() {
    for shader in &texts().collect::<Vec<_>>() {
        let module = parse(shader);
        let info = validate(shader, &module);
        let mut numbers = BTreeSet::new();
        let mut storage_buffers = 0;
        let is_used = |variable: naga::Handle<naga::GlobalVariable>| !info.get_entry_point(0)[variable].is_empty();
        for (_, variable) in module.global_variables.iter().filter(|(handle, _)| is_used(*handle)) {
            let Some(binding) = &variable.binding else { continue };
            assert_eq!(binding.group, 0, "{}: {:?}", name(shader), variable.name);
            assert!(numbers.insert(binding.binding), "{}: binding {} twice", name(shader), binding.binding);
            match variable.space {
                AddressSpace::Uniform => assert_eq!(binding.binding, 0, "{}: parameters", name(shader)),
                AddressSpace::Storage { access } => {
                    storage_buffers += 1;
                    assert!(access.contains(StorageAccess::LOAD), "{}: {:?}", name(shader), variable.name);
                }
                space => panic!("{}: {:?} lies in {space:?}", name(shader), variable.name),
            }
        }
        assert_eq!(numbers.contains(&0), !fields(shader.stem).is_empty(), "{}: parameters at binding 0", name(shader));
        // What stands beside a product is planned where the device binds so many.
        let more = if shader.variant.contains("beside") { 4 } else { usize::from(has_matrices(shader)) };
        let limit = MAX_STORAGE_BUFFERS + more;
        assert!(storage_buffers <= limit, "{}: {storage_buffers} storage buffers", name(shader));
    }
}

#[test]
fn workgroups_are_portable() {
    let count = for_each(|what, module, _| {
        let [entry] = module.entry_points.as_slice() else { panic!("{what}: more than one entry point") };
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!((1..=MAX_INVOCATIONS).contains(&invocations), "{what}: {invocations} invocations");
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == AddressSpace::WorkGroup)
            .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16))
            .sum();
        let limit = if what.contains("matrix") { 2 * MAX_WORKGROUP_BYTES } else { MAX_WORKGROUP_BYTES };
        assert!(bytes <= limit, "{what}: {bytes} bytes of workgroup memory");
        let unsized_array = module
            .global_variables
            .iter()
            .any(|(_, v)| v.space == AddressSpace::WorkGroup && module.types[v.ty].inner.size(module.to_ctx()) == 0);
        assert!(!unsized_array, "{what}: a workgroup array whose size did not resolve");
    });
    println!("{count} combinations of constants");
    assert!(count > 300, "{count} combinations: the constants were not found");
}

/// Cooperative loads and stores need addresses that are multiples of 16 bytes, and drivers place variables of workgroup
/// memory one behind the other: a lone u32 between arrays made NaN on an H200.
#[test]
fn workgroup_memory_of_matrices_is_aligned() {
    let count = for_each_of(has_matrices, |what, module, _| {
        for (_, v) in module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup) {
            let bytes = module.types[v.ty].inner.size(module.to_ctx());
            assert!(bytes.is_multiple_of(16), "{what}: {:?} takes {bytes} bytes, expected a multiple of 16", v.name);
        }
    });
    assert!(count > 0, "no shaders with matrices");
}

#[test]
fn translates_to_spirv() {
    for_each(|what, module, info| {
        let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
        let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".to_string() };
        let words = spv::write_vec(module, info, &options, Some(&entry)).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(words[0], 0x0723_0203, "{what}: SPIR-V's magic number");
    });
}

#[test]
fn translates_to_msl() {
    for_each(|what, module, info| {
        let options = msl::Options { lang_version: (2, 4), ..msl::Options::default() };
        let (text, translation) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        for entry in translation.entry_point_names {
            let entry = entry.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(text.contains(&format!("kernel void {entry}(")), "{what}: no kernel in\n{text}");
        }
    });
}

#[test]
fn translates_to_hlsl() {
    // DX12 has no cooperative matrices.
    for_each_of(
        |shader| !has_matrices(shader),
        |what, module, info| {
            for shader_model in [hlsl::ShaderModel::V6_0, hlsl::ShaderModel::V6_6] {
                let options = hlsl::Options { shader_model, ..hlsl::Options::default() };
                let entry =
                    hlsl::PipelineOptions { entry_point: Some((naga::ShaderStage::Compute, "main".to_string())) };
                let mut text = String::new();
                let written = hlsl::Writer::new(&mut text, &options, &entry)
                    .write(module, info, None)
                    .unwrap_or_else(|e| panic!("{what} {shader_model:?}: {e}"));
                for entry in written.entry_point_names {
                    entry.unwrap_or_else(|e| panic!("{what} {shader_model:?}: {e}"));
                }
                assert!(text.contains("[numthreads("), "{what} {shader_model:?}: no entry point in\n{text}");
            }
        },
    );
}
