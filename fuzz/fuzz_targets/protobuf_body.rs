//! A kind and what follows the first bytes of a protobuf body: what is decoded is an object whose
//! JSON is decoded to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::{assert_stable, kind, repeated};
use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode},
    scheme,
};

fuzz_target!(|data: &[u8]| {
    let data = repeated(data);
    let Some((kind, body)) = kind(&data) else {
        return;
    };
    let body = [b"k8s\0", body].concat();
    let mode = FieldValidation::Warn;
    let decoded = decode(scheme::built_in(), kind, &body, MediaType::Protobuf, mode);
    if let Ok(decoded) = decoded {
        assert_stable(kind, &decoded.value);
    }
});
