//! Every shader in every variant and with every set of constants that presets make, without a GPU: valid WGSL, translatable to SPIR-V, MSL
//! and HLSL, and within WebGPU's limits. Rows and draws have the field offsets that the host writes; the fields of parameters are
//! compared where kernels are planned, by their names.

#[path = "fleet/keys.rs"]
mod keys;
#[path = "shaders/planned.rs"]
mod planned;
#[path = "shaders/texts.rs"]
mod texts;
#[path = "shaders/translations.rs"]
mod translations;
#[path = "shaders/writers.rs"]
mod writers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lapidary::testing::gpu::IMMEDIATE_BYTES;
use lapidary::testing::kernels::{self, SHADERS};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};
use texts::{Case, Text, for_each, for_each_of, has_matrices, name, parse, texts, validate};

/// WebGPU's limit, which the plain kernels keep.
const MAX_STORAGE_BUFFERS: usize = 8;

type Fields = &'static [(&'static str, usize)];

#[test]
fn table_has_every_file() {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("a folder of shaders");
        entries.map(|entry| entry.expect("a folder entry").path()).collect::<Vec<PathBuf>>()
    };
    let families = entries(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")));
    let files: BTreeSet<String> = families
        .iter()
        .filter(|family| !family.ends_with("common"))
        .flat_map(|family| entries(family))
        .map(|path| path.file_stem().expect("a file").to_string_lossy().into_owned())
        .collect();
    let table: BTreeSet<String> = SHADERS.iter().map(|s| s.stem.to_string()).collect();
    assert_eq!(files, table, "shaders/*/*.wgsl and kernels::SHADERS");
    let distinct: BTreeSet<String> = texts().map(|text| name(&text)).collect();
    assert_eq!(distinct.len(), texts().count(), "a stem and variant stand twice in kernels::SHADERS");
}

#[test]
fn every_common_file_is_used() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/common")).expect("the folder") {
        let path = entry.expect("a folder entry").path();
        let text = std::fs::read_to_string(&path).expect("a shader");
        let (_, wgsl) = text.split_once("\n\n").expect("a head, an empty line, and the text");
        assert!(texts().any(|s| s.wgsl().contains(wgsl)), "{}: no shader includes it", path.display());
    }
}

#[test]
fn rows_and_draws_have_the_hosts_offsets() {
    for shader in &texts().collect::<Vec<_>>() {
        let module = parse(shader);
        if shader.wgsl().contains("struct Row {") {
            compare_struct(shader, &module, "Row", kernels::STEP_ROW_FIELDS, false);
        }
        if shader.wgsl().contains("struct Draw {") {
            compare_struct(shader, &module, "Draw", kernels::choice::sample::DRAW_FIELDS, true);
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

/// Bytes of a text's struct of parameters; 0 where it has none.
fn parameter_bytes(module: &Module) -> u32 {
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params"));
    found.map_or(0, |(_, ty)| ty.inner.size(module.to_ctx()))
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
        assert_eq!(numbers.contains(&0), parameter_bytes(&module) > 0, "{}: parameters at binding 0", name(shader));
        // What stands beside a product is planned where the device binds so many.
        let more = if shader.variant.contains("beside") { 4 } else { usize::from(has_matrices(shader)) };
        let limit = MAX_STORAGE_BUFFERS + more;
        assert!(storage_buffers <= limit, "{}: {storage_buffers} storage buffers", name(shader));
    }
}

/// What is planned on a device keeps its limits.
#[test]
fn workgroups_fit_their_devices() {
    let count = for_each(|Case { what, module, device, .. }| {
        let [entry] = module.entry_points.as_slice() else { panic!("{what}: more than one entry point") };
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!((1..=device.threads).contains(&invocations), "{what}: {invocations} invocations");
        let workgroup = || module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        let size = |v: &naga::GlobalVariable| module.types[v.ty].inner.size(module.to_ctx());
        let bytes: u32 = workgroup().map(|(_, v)| size(v).next_multiple_of(16)).sum();
        assert!(bytes <= device.workgroup_bytes, "{what}: {bytes} bytes of workgroup memory");
        assert!(workgroup().all(|(_, v)| size(v) > 0), "{what}: a workgroup array whose size did not resolve");
    });
    println!("{count} sets of constants");
    assert!(count > 300, "{count} sets: nothing was planned");
}

/// Each text is made by some preset with some table, or by a checkpoint of another format than presets have.
#[test]
fn every_text_is_planned() {
    let unplanned: Vec<String> =
        texts().filter(|text| planned::of(&planned::PLANNED, text).is_empty()).map(|text| name(&text)).collect();
    assert_eq!(unplanned, Vec::<String>::new(), "texts that nothing makes");
}

/// Parameters fit where browsers have room for them beside the commands.
#[test]
fn parameters_fit_beside_the_commands() {
    for text in texts() {
        let bytes = parameter_bytes(&parse(&text));
        assert!(bytes <= IMMEDIATE_BYTES, "{}: {bytes} bytes of parameters", name(&text));
    }
}

/// Cooperative loads and stores need addresses that are multiples of 16 bytes, and drivers place variables of workgroup
/// memory one behind the other: a lone u32 between arrays made NaN on an H200.
#[test]
fn workgroup_memory_of_matrices_is_aligned() {
    let count = for_each_of(has_matrices, |Case { what, module, .. }| {
        for (_, v) in module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup) {
            let bytes = module.types[v.ty].inner.size(module.to_ctx());
            assert!(bytes.is_multiple_of(16), "{what}: {:?} takes {bytes} bytes, expected a multiple of 16", v.name);
        }
    });
    assert!(count > 0, "no shaders with matrices");
}
