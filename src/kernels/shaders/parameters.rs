//! The parameters of a text, by their names.

use super::library::Snippet;
use crate::kernels::Parameter;

/// The struct of a kernel's parameters.
const STRUCT: &str = "struct Params {";

/// The members of `Params` in a text that is made of `parts`; none where it has no such struct.
pub(super) fn parameters(parts: &[&Snippet]) -> Vec<Parameter> {
    parts.iter().flat_map(|part| members(part.wgsl)).collect()
}

/// Those that a snippet declares: a line each.
fn members(wgsl: &'static str) -> impl Iterator<Item = Parameter> {
    let body = wgsl.lines().skip_while(|line| *line != STRUCT).skip(1).take_while(|line| *line != "}");
    body.filter_map(|line| {
        let (name, rest) = line.trim_start().split_once(": ")?;
        let (ty, _) = rest.split_once(',')?;
        Some(Parameter { name, ty })
    })
}

/// Whether the host gives what a text declares.
///
/// # Errors
/// Both lists, where they differ.
pub(in crate::kernels) fn compare(declared: &[Parameter], given: &[Parameter]) -> Result<(), String> {
    let list =
        |all: &[Parameter]| all.iter().map(|one| format!("{}: {}", one.name, one.ty)).collect::<Vec<_>>().join(", ");
    if declared == given {
        return Ok(());
    }
    Err(format!("its parameters are ({}), and the host's are ({})", list(declared), list(given)))
}

#[cfg(test)]
mod tests {
    use wgpu::naga::front::wgsl::parse_str;
    use wgpu::naga::{Module, Scalar, TypeInner};

    use super::*;
    use crate::kernels::SHADERS;

    /// The members of `Params` and their offsets as naga reads them.
    fn by_naga(module: &Module) -> Vec<(&str, &'static str, u32)> {
        let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params"));
        let Some(TypeInner::Struct { members, .. }) = found.map(|(_, ty)| &ty.inner) else { return Vec::new() };
        let ty = |member: &wgpu::naga::StructMember| match module.types[member.ty].inner {
            TypeInner::Scalar(Scalar::U32) => "u32",
            TypeInner::Scalar(Scalar::F32) => "f32",
            _ => "another type",
        };
        members.iter().map(|one| (one.name.as_deref().unwrap_or_default(), ty(one), one.offset)).collect()
    }

    /// What the planner compares is what lies in the buffer: names, types, and nothing between.
    #[test]
    fn members_are_those_of_the_texts() {
        let mut with_some = 0;
        for shader in SHADERS.iter() {
            for subgroups in [false, shader.has_subgroups()] {
                let wgsl = shader.wgsl(subgroups);
                let module = parse_str(&wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(&wgsl)));
                let read = shader.parameters(subgroups).iter().zip(0u32..);
                let read: Vec<_> = read.map(|(one, place)| (one.name, one.ty, 4 * place)).collect();
                assert_eq!(read, by_naga(&module), "{} \"{}\"", shader.stem, shader.variant);
                with_some += usize::from(!read.is_empty());
            }
        }
        assert!(with_some > 50, "{with_some} texts with parameters");
    }

    #[test]
    fn members_are_read() {
        let wgsl = "struct Other {\n    no: u32,\n}\n\nstruct Params {\n    rows: u32, // of x: all\n    eps: f32,\n}\nfn f() {}\n";
        let read: Vec<Parameter> = members(wgsl).collect();
        let expected = [Parameter { name: "rows", ty: "u32" }, Parameter { name: "eps", ty: "f32" }];
        assert_eq!(read, expected);
        assert_eq!(members("fn f() {}\n").count(), 0);
    }

    #[test]
    fn other_names_types_and_orders_are_refused() {
        let [a, b] = [Parameter { name: "a", ty: "u32" }, Parameter { name: "b", ty: "f32" }];
        assert_eq!(compare(&[a, b], &[a, b]), Ok(()));
        for wrong in [vec![b, a], vec![a], vec![a, Parameter { ty: "u32", ..b }], vec![a, b, b]] {
            assert!(compare(&[a, b], &wrong).is_err(), "{wrong:?}");
        }
        let why = compare(&[a, b], &[b]);
        assert_eq!(why, Err("its parameters are (a: u32, b: f32), and the host's are (b: f32)".to_owned()));
    }
}
