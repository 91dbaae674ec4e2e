//! What shaders' parameters are declared with and made of.

/// Declares a shader's `Params` with the offsets of its fields, which `tests/shaders.rs` compares with the WGSL.
macro_rules! params {
    ($(#[$doc:meta])* pub struct Params { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
        #[expect(missing_docs, reason = "the shader's struct of the same name says what each field means")]
        pub struct Params { $(pub $field: $type),* }

        /// Name and byte offset of each field of [`Params`].
        pub const FIELDS: &[(&str, usize)] = &[$((stringify!($field), std::mem::offset_of!(Params, $field))),*];
    };
}
pub(crate) use params;

/// `value` as a shader's u32.
pub(super) fn word(value: usize) -> u32 {
    u32::try_from(value).expect("sizes were checked against the configuration's bounds")
}
