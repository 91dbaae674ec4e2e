//! Shaders with their constants put in, and without the code that these rule out.
//!
//! A shader has many variants behind conditions on its `override` constants. Drivers find out which of them are dead, but only
//! after they have put every call's body in its place: Mesa takes seconds for what is left of it in a tenth. So that is done
//! here, on naga's tree: a branch whose condition is a constant gives way to the side that is taken.

use wgpu::naga::compact::{KeepUnused, compact};
use wgpu::naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use wgpu::naga::{
    self, AddressSpace, Arena, Block, Constant, Expression, Function, Handle, Literal, Module, ShaderStage, Statement,
    StorageAccess,
};

/// A shader with its constants put in.
#[derive(Debug)]
pub struct Specialized {
    /// The module: no overrides, one entry point, and no branch on a constant.
    pub module: Module,
    /// Numbers of the buffers that the shader declares and uses with any constants, in ascending order.
    pub bindings: Vec<(u32, wgpu::BufferBindingType)>,
    /// Bytes of parameters that come with the commands.
    pub immediate_bytes: u32,
}

/// Parses `wgsl`, whose entry point is `main`, and puts `constants` in.
///
/// # Errors
/// What naga says about a shader that is not valid, or has no such constants.
pub fn specialize(wgsl: &str, constants: &[(&str, u32)]) -> Result<Specialized, String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    // What the device can do is checked when it is given the result.
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(wgsl))?;
    let Interface { bindings, immediate_bytes } = interface(&module, &info)?;
    let values = constants.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
    let entry = Some((ShaderStage::Compute, "main"));
    let (module, _) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &values)
        .map_err(|error| error.to_string())?;
    let mut module = module.into_owned();
    prune_module(&mut module);
    Ok(Specialized { module, bindings, immediate_bytes })
}

/// What a shader is given.
struct Interface {
    bindings: Vec<(u32, wgpu::BufferBindingType)>,
    immediate_bytes: u32,
}

/// Buffers that the entry point uses, and the size of its immediates.
fn interface(module: &Module, info: &ModuleInfo) -> Result<Interface, String> {
    let [_] = module.entry_points.as_slice() else { return Err("expected one entry point".to_owned()) };
    let (mut bindings, mut immediate_bytes) = (Vec::new(), 0);
    for (handle, variable) in module.global_variables.iter() {
        if info.get_entry_point(0)[handle].is_empty() {
            continue;
        }
        let number = variable.binding.as_ref().map(|binding| binding.binding);
        match (variable.space, number) {
            (AddressSpace::Uniform, Some(number)) => bindings.push((number, wgpu::BufferBindingType::Uniform)),
            (AddressSpace::Storage { access }, Some(number)) => {
                let read_only = !access.contains(StorageAccess::STORE);
                bindings.push((number, wgpu::BufferBindingType::Storage { read_only }));
            }
            (AddressSpace::Immediate, None) => {
                immediate_bytes = module.types[variable.ty].inner.size(module.to_ctx()).next_multiple_of(4);
            }
            _ => {}
        }
    }
    bindings.sort_unstable_by_key(|(number, _)| *number);
    Ok(Interface { bindings, immediate_bytes })
}

/// Takes out what is never reached, then what is only used there.
fn prune_module(module: &mut Module) {
    let mut functions = std::mem::take(&mut module.functions);
    functions.iter_mut().for_each(|(_, function)| prune_function(module, function));
    module.functions = functions;
    let mut entry_points = std::mem::take(&mut module.entry_points);
    entry_points.iter_mut().for_each(|entry_point| prune_function(module, &mut entry_point.function));
    module.entry_points = entry_points;
    compact(module, KeepUnused::No);
}

fn prune_function(module: &Module, function: &mut Function) {
    // Names keep what they stand for, also where nothing else does.
    function.named_expressions.clear();
    function.body = pruned(std::mem::take(&mut function.body), &|condition| {
        constant_bool(&function.expressions, &module.constants, &module.global_expressions, condition)
    });
}

/// The value of a condition that is a constant.
fn constant_bool(
    expressions: &Arena<Expression>,
    constants: &Arena<Constant>,
    global_expressions: &Arena<Expression>,
    condition: Handle<Expression>,
) -> Option<bool> {
    let expression = match expressions[condition] {
        Expression::Constant(constant) => &global_expressions[constants[constant].init],
        ref other => other,
    };
    match expression {
        Expression::Literal(Literal::Bool(value)) => Some(*value),
        _ => None,
    }
}

/// A block with each branch on a constant replaced by the side that is taken, up to where it is left.
fn pruned(block: Block, constant: &impl Fn(Handle<Expression>) -> Option<bool>) -> Block {
    let mut kept = Block::with_capacity(block.len());
    for (statement, span) in block.span_into_iter() {
        match statement {
            Statement::If { condition, accept, reject } => match constant(condition) {
                Some(value) => kept.extend_block(pruned(if value { accept } else { reject }, constant)),
                None => {
                    let (accept, reject) = (pruned(accept, constant), pruned(reject, constant));
                    kept.push(Statement::If { condition, accept, reject }, span);
                }
            },
            Statement::Block(inner) => kept.push(Statement::Block(pruned(inner, constant)), span),
            Statement::Loop { body, continuing, break_if } => {
                let (body, continuing) = (pruned(body, constant), pruned(continuing, constant));
                kept.push(Statement::Loop { body, continuing, break_if }, span);
            }
            Statement::Switch { selector, mut cases } => {
                for case in &mut cases {
                    case.body = pruned(std::mem::take(&mut case.body), constant);
                }
                kept.push(Statement::Switch { selector, cases }, span);
            }
            other => kept.push(other, span),
        }
        if kept.last().is_some_and(Statement::is_terminator) {
            break;
        }
    }
    kept
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const WGSL: &str = "
        override WIDE: bool = true;
        override N: u32 = 4;
        struct Params { n: u32, scale: f32, pad: u32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(2) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @group(0) @binding(7) var<storage, read> unused: array<f32>;
        fn wide(i: u32) -> f32 {
            return 2.0 * x[i];
        }
        fn one(i: u32) -> f32 {
            if WIDE {
                let sum = wide(i);
                return sum;
            } else if N > 2u {
                return 1.0;
            }
            return params.scale;
        }
        @compute @workgroup_size(N) fn main(@builtin(local_invocation_index) lane: u32) {
            for (var i = 0u; i < params.n; i++) {
                if N == 8u {
                    continue;
                }
                y[i] = one(i + lane);
            }
        }";

    fn functions(shader: &Specialized) -> Vec<&str> {
        shader.module.functions.iter().filter_map(|(_, function)| function.name.as_deref()).collect()
    }

    /// Branches in a block and those within it.
    fn branches(block: &Block) -> usize {
        let of = |statement: &Statement| match statement {
            Statement::If { accept, reject, .. } => 1 + branches(accept) + branches(reject),
            Statement::Loop { body, continuing, .. } => branches(body) + branches(continuing),
            Statement::Block(inner) => branches(inner),
            _ => 0,
        };
        block.iter().map(of).sum()
    }

    #[test]
    fn what_constants_rule_out_is_gone() {
        let default = specialize(WGSL, &[]).unwrap();
        assert_eq!(functions(&default), ["wide", "one"]);
        for (constants, left) in
            [([("WIDE", 0), ("N", 4)], 1), ([("WIDE", 1), ("N", 2)], 2), ([("WIDE", 0), ("N", 8)], 0)]
        {
            let shader = specialize(WGSL, &constants).unwrap();
            assert_eq!(functions(&shader).len(), left, "{constants:?}");
            let bodies = shader.module.functions.iter().map(|(_, function)| branches(&function.body));
            // The loop's own condition is no constant.
            assert_eq!(
                bodies.sum::<usize>() + branches(&shader.module.entry_points[0].function.body),
                1,
                "{constants:?}"
            );
            assert!(shader.module.overrides.is_empty());
            assert_eq!(shader.module.entry_points[0].workgroup_size, [constants[1].1, 1, 1]);
            Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&shader.module).unwrap();
        }
    }

    /// A kernel binds the same buffers whatever its constants are.
    #[test]
    fn bindings_are_those_of_any_constants() {
        use wgpu::BufferBindingType::{Storage, Uniform};
        let expected = [(0, Uniform), (1, Storage { read_only: false }), (2, Storage { read_only: true })];
        for wide in [0, 1] {
            let shader = specialize(WGSL, &[("WIDE", wide)]).unwrap();
            assert_eq!((shader.bindings.as_slice(), shader.immediate_bytes), (&expected[..], 0));
        }
        let immediate = WGSL.replace("@group(0) @binding(0) var<uniform>", "var<immediate>");
        let shader = specialize(&immediate, &[("WIDE", 1)]).unwrap();
        assert_eq!((shader.bindings.as_slice(), shader.immediate_bytes), (&expected[1..], 12));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, what) in
            [("return 2.0", "retrn 2.0", "expected"), ("return 1.0;", "return 1u;", "one"), ("x[i]", "z[i]", "z")]
        {
            let error = specialize(&WGSL.replace(from, to), &[]).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let error = specialize(WGSL, &[("NARROW", 1)]).unwrap_err();
        assert!(error.contains("NARROW"), "{error}");
    }
}
