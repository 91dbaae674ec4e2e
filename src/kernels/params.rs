//! What shaders' parameters are declared with and made of.

/// A number among a shader's parameters: all have 32 bits, so that names and types in order say where each lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// The member of the struct.
    pub name: &'static str,
    /// `u32` or `f32`, which the host and the shader spell alike.
    pub ty: &'static str,
}

/// The parameters of a shader: what its struct `Params` holds, which the planner compares with the text.
pub(crate) trait Parameters: bytemuck::Pod {
    /// The members in order.
    const MEMBERS: &'static [Parameter];
}

/// Declares a shader's `Params`.
macro_rules! params {
    ($(#[$doc:meta])* pub struct Params { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
        #[expect(missing_docs, reason = "the shader's struct of the same name says what each field means")]
        pub struct Params { $(pub $field: $type),* }

        impl $crate::kernels::Parameters for Params {
            const MEMBERS: &'static [$crate::kernels::Parameter] =
                &[$($crate::kernels::Parameter { name: stringify!($field), ty: stringify!($type) }),*];
        }

        // Nothing lies between the members.
        const _: () = assert!(size_of::<Params>() == 4 * <Params as $crate::kernels::Parameters>::MEMBERS.len());
    };
}
pub(crate) use params;

/// `value` as a shader's u32.
pub(super) fn word(value: usize) -> u32 {
    u32::try_from(value).expect("sizes were checked against the configuration's bounds")
}
