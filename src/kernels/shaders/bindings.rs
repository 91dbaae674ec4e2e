//! The buffers that a text binds, by their names.

use super::library::Snippet;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
