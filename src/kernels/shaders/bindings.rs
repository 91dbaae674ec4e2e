//! The buffers that a text binds, by their names.

use super::library::Snippet;
use crate::gpu::Binding;

/// A buffer that a text declares and uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernels) struct Declared {
    /// The variable.
    pub name: &'static str,
    /// `@binding`.
    pub number: u32,
    /// Whether it is written as f32.
    pub is_float_output: bool,
}

/// The buffers of a text that is made of `parts`, in ascending order of their numbers.
pub(super) fn bindings(parts: &[&Snippet]) -> Vec<Declared> {
    let is_needed = |name| parts.iter().any(|part| part.head.needs.iter().any(|need| need.names.contains(&name)));
    let of_part = |part: &&Snippet| {
        let (wgsl, needed) = (part.wgsl, is_needed);
        wgsl.lines().filter_map(declared).filter(move |one| needed(one.name) || uses(wgsl, one.name))
    };
    let mut all: Vec<Declared> = parts.iter().flat_map(of_part).collect();
    all.sort_by_key(|one| one.number);
    all
}

/// What a line declares: declarations of buffers are a line each.
fn declared(line: &'static str) -> Option<Declared> {
    let (number, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") var<")?;
    let (space, rest) = rest.split_once("> ")?;
    let (name, ty) = rest.split_once(": ")?;
    let is_float = ["array<f32>;", "array<vec4<f32>>;"].iter().any(|float| ty.starts_with(float));
    let is_float_output = space == "storage, read_write" && is_float;
    Some(Declared { name, number: number.parse().ok()?, is_float_output })
}

/// Whether a snippet uses a variable that it declares: names of members do not count, nor what comments say.
fn uses(wgsl: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let in_line = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let found = code.match_indices(name).filter(|(at, _)| {
            let (before, behind) = (code[..*at].chars().next_back(), code[at + name.len()..].chars().next());
            !before.is_some_and(|c| is_part(c) || c == '.') && !behind.is_some_and(is_part)
        });
        found.count()
    };
    wgsl.lines().map(in_line).sum::<usize>() > 1
}

/// The variable of a kernel's parameters, which are bound for it: [`crate::gpu::pipeline::with_immediates`] knows it too.
const PARAMS: &str = "params";

/// Buffers by the numbers of the variables that they are named after; those of parameters are not among them.
///
/// # Errors
/// A buffer that the text has no variable for, and a variable that no buffer is given for.
pub(in crate::kernels) fn numbered(
    declared: &[Declared],
    has_params: bool,
    buffers: Vec<(&'static str, Binding)>,
) -> Result<Vec<(u32, Binding)>, String> {
    let is_given = |name| if name == PARAMS { has_params } else { buffers.iter().any(|(given, _)| *given == name) };
    if let Some(missing) = declared.iter().find(|one| !is_given(one.name)) {
        return Err(format!("nothing is given for its variable `{}`", missing.name));
    }
    let number = |name| declared.iter().find(|one| one.name == name).map(|one| one.number);
    let lacks = |name| format!("it has no variable `{name}`");
    if has_params {
        number(PARAMS).ok_or_else(|| lacks(PARAMS))?;
    }
    let mut all: Vec<(u32, Binding)> = Vec::with_capacity(buffers.len() + 1);
    for (name, binding) in buffers {
        let number = number(name).filter(|_| name != PARAMS).ok_or_else(|| lacks(name))?;
        if all.iter().any(|(other, _)| *other == number) {
            return Err(format!("two buffers are given for its variable `{name}`"));
        }
        all.push((number, binding));
    }
    Ok(all)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::gpu::Tensor;
    use crate::gpu::rehearsal::Imagined;
    use crate::kernels::product::{gelu_mul, sum_shares};
    use crate::kernels::{Planned, Planner};

    fn declared_in(wgsl: &'static str) -> Vec<(&'static str, u32, bool)> {
        wgsl.lines().filter_map(declared).map(|one| (one.name, one.number, one.is_float_output)).collect()
    }

    #[test]
    fn declarations_are_read() {
        let wgsl = "// @group(0) @binding(9) var<uniform> no: u32;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(12) var<storage, read> x: array<f32>; // [rows]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
var<workgroup> sums: array<f32, 4>;";
        let expected = [("params", 0, false), ("x", 12, false), ("y", 2, true), ("ids", 3, false)];
        assert_eq!(declared_in(wgsl), expected);
    }

    #[test]
    fn members_and_comments_are_no_uses() {
        let wgsl = "@group(0) @binding(1) var<storage, read> x: array<f32>;\n// of x\nfn f() { return v.x + xx; }\n";
        assert!(!uses(wgsl, "x"));
        assert!(uses("@group(0) @binding(1) var<storage, read> x: array<f32>;\nfn f() { return x[0]; }\n", "x"));
    }

    /// What a kernel of `gelu_mul.wgsl` says with these buffers.
    fn planned(buffers: &[&'static str], has_params: bool) -> Result<Vec<u32>, String> {
        let gpu = Imagined::FLOOR.open().unwrap();
        let planner = Planner::new(&gpu);
        let tensor = Tensor::compact(&gpu, "any", 1, 32).unwrap();
        let bound = || buffers.iter().map(|name| (*name, Binding::from(&tensor))).collect::<Vec<_>>();
        let grid = crate::gpu::Grid::per_row(1);
        let plan = || match has_params {
            true => planner.plan(
                "layer.07/gate",
                planner.key("gelu_mul", vec![]),
                &gelu_mul::Params::default(),
                bound(),
                grid,
            ),
            false => planner.plan_bare("layer.07/gate", planner.key("gelu_mul", vec![]), bound(), grid),
        };
        let numbers =
            |planned: Planned| planned.bound().map(|(number, _)| *number).filter(|number| *number > 0).collect();
        let plan = std::panic::catch_unwind(std::panic::AssertUnwindSafe(plan));
        plan.map(|planned| numbers(planned.unwrap())).map_err(|panic| *panic.downcast::<String>().unwrap())
    }

    #[test]
    fn buffers_are_found_by_name() {
        assert_eq!(planned(&["y", "gate", "up"], true), Ok(vec![3, 1, 2]));
    }

    #[test]
    fn other_names_are_refused_with_shader_and_variable() {
        let why = |buffers: &[&'static str], has_params| planned(buffers, has_params).unwrap_err();
        let shader = "layer.07/gate: shader gelu_mul \"\":";
        let all = ["gate", "up", "y"];
        assert_eq!(why(&["gate", "y"], true), format!("{shader} nothing is given for its variable `up`"));
        assert_eq!(why(&["gate", "up", "y", "x"], true), format!("{shader} it has no variable `x`"));
        assert_eq!(
            why(&["gate", "up", "y", "up"], true),
            format!("{shader} two buffers are given for its variable `up`")
        );
        assert_eq!(why(&all, false), format!("{shader} nothing is given for its variable `params`"));
        assert_eq!(why(&["gate", "up", "y", "params"], true), format!("{shader} it has no variable `params`"));
    }

    #[test]
    fn parameters_of_another_shader_are_refused() {
        let gpu = Imagined::FLOOR.open().unwrap();
        let (planner, tensor) = (Planner::new(&gpu), Tensor::compact(&gpu, "any", 1, 32).unwrap());
        let buffers = ["gate", "up", "y"].map(|name| (name, Binding::from(&tensor))).to_vec();
        let (key, grid) = (planner.key("gelu_mul", vec![]), crate::gpu::Grid::per_row(1));
        let params = sum_shares::Params::default();
        let plan = || planner.plan("mlp.gelu_mul", key, &params, buffers, grid).map(drop);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(plan)).unwrap_err();
        let why = panic.downcast::<String>().unwrap();
        assert!(
            why.starts_with("mlp.gelu_mul: shader gelu_mul \"\": its parameters are (width: u32, gate_stride"),
            "{why}"
        );
        assert!(why.contains("and the host's are (width: u32, rows: u32"), "{why}");
    }
}
