//! naga's writers as wgpu calls them: SPIR-V for Vulkan, MSL for Metal, HLSL for DX12.
#![allow(dead_code, reason = "each binary uses its own part")]

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};

use super::texts::Text;

/// Buffers that the module declares: where they are bound, and whether they are uniform, and written.
fn buffers(module: &Module) -> Vec<(ResourceBinding, bool, bool)> {
    let of = |variable: &naga::GlobalVariable| match (variable.binding, variable.space) {
        (Some(binding), AddressSpace::Uniform) => Some((binding, true, false)),
        (Some(binding), AddressSpace::Storage { access }) => {
            Some((binding, false, access.contains(StorageAccess::STORE)))
        }
        _ => None,
    };
    module.global_variables.iter().filter_map(|(_, variable)| of(variable)).collect()
}

pub(crate) fn has_immediates(module: &Module) -> bool {
    module.global_variables.iter().any(|(_, variable)| variable.space == AddressSpace::Immediate)
}

pub(crate) fn to_spirv(what: &str, module: &Module, info: &ModuleInfo) -> Vec<u32> {
    let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
    let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".to_string() };
    let words = spv::write_vec(module, info, &options, Some(&entry)).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(words[0], 0x0723_0203, "{what}: SPIR-V's magic number");
    words
}

/// As `wgpu-hal/src/metal/device.rs` does: buffers in the order of their numbers, behind the parameters and the sizes.
pub(crate) fn to_msl(what: &str, module: &Module, info: &ModuleInfo, policy: BoundsCheckPolicy) -> String {
    let target = |(i, (binding, _, mutable)): (usize, (ResourceBinding, bool, bool))| {
        (binding, msl::BindTarget { buffer: Some(i as u8 + 2), mutable, ..msl::BindTarget::default() })
    };
    let resources = msl::EntryPointResources {
        resources: buffers(module).into_iter().enumerate().map(target).collect(),
        immediates_buffer: has_immediates(module).then_some(0),
        sizes_buffer: Some(1),
    };
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [("main".to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies { index: policy, buffer: policy, ..BoundsCheckPolicies::default() },
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..msl::Options::default()
    };
    let entry = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".to_owned())),
        ..msl::PipelineOptions::default()
    };
    let (text, translation) =
        msl::write_string(module, info, &options, &entry).unwrap_or_else(|e| panic!("{what} in MSL: {e}"));
    let [Ok(name)] = translation.entry_point_names.as_slice() else {
        panic!("{what} in MSL: {:?}", translation.entry_point_names)
    };
    assert!(text.contains(&format!("kernel void {name}(")), "{what}: no kernel in\n{text}");
    text
}

/// As `wgpu-hal/src/dx12/device.rs` does: immediates come first, and other buffers in a space behind theirs.
pub(crate) fn to_hlsl(
    what: &str,
    module: &Module,
    info: &ModuleInfo,
    shader_model: hlsl::ShaderModel,
    checks: bool,
) -> String {
    let what = format!("{what} in HLSL {shader_model:?}");
    let immediates_target = has_immediates(module).then(hlsl::BindTarget::default);
    let space = u8::from(immediates_target.is_some());
    let mut registers = [0; 3];
    let mut target = |(binding, uniform, written): (ResourceBinding, bool, bool)| {
        let register = &mut registers[if uniform { 0 } else { 1 + usize::from(written) }];
        *register += 1;
        let restrict_indexing = true;
        (binding, hlsl::BindTarget { space, register: *register - 1, restrict_indexing, ..hlsl::BindTarget::default() })
    };
    let options = hlsl::Options {
        shader_model,
        binding_map: buffers(module).into_iter().map(&mut target).collect(),
        fake_missing_bindings: false,
        immediates_target,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: checks,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let entry = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".to_owned())) };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &entry)
        .write(module, info, None)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(matches!(written.entry_point_names.as_slice(), [Ok(_)]), "{what}: {:?}", written.entry_point_names);
    assert!(text.contains("[numthreads("), "{what}: no entry point in\n{text}");
    // What came with shader models 6.0 and 6.4.
    for (least, word) in [(hlsl::ShaderModel::V6_0, "Wave"), (hlsl::ShaderModel::V6_4, "dot4add_")] {
        assert!(
            shader_model >= least || !text.contains(word),
            "{what}: {word} comes with {least:?}:
{text}"
        );
    }
    text
}

/// The oldest shader model that can have it: FXC's 5.1, or DXC's.
pub(crate) fn least_model(text: &Text) -> hlsl::ShaderModel {
    match (text.wgsl().starts_with("enable f16;"), text.subgroups) {
        (true, _) => hlsl::ShaderModel::V6_2,
        (_, true) => hlsl::ShaderModel::V6_0,
        _ => hlsl::ShaderModel::V5_1,
    }
}
