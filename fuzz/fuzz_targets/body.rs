//! A kind and a body, as JSON and as YAML: what is decoded is decoded to the same again, defaults
//! are set once, and a valid object is a valid update of itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::{assert_stable, kind, repeated};
use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode},
    defaults::apply_defaults,
    scheme,
    strategy::prepare_create,
    validation::{validate_create, validate_update},
};

fuzz_target!(|data: &[u8]| {
    let data = repeated(data);
    let Some((kind, body)) = kind(&data) else {
        return;
    };
    for media in [MediaType::Json, MediaType::Yaml] {
        let decoded = decode(scheme::built_in(), kind, body, media, FieldValidation::Warn);
        let Ok(decoded) = decoded else {
            continue;
        };
        assert!(decoded.warnings.len() <= 100, "the warnings are bounded");
        assert_stable(kind, &decoded.value);
        let mut object = decoded.value;
        apply_defaults(kind, &mut object);
        let once = object.clone();
        apply_defaults(kind, &mut object);
        assert_eq!(object, once, "defaults are set once");
        assert_stable(kind, &object);
        if !kind.is_stored() {
            continue;
        }
        prepare_create(kind, &mut object);
        if validate_create(kind, &object).is_empty() {
            object["metadata"]["resourceVersion"] = "1".into();
            let faults = validate_update(kind, "", &object, &object);
            assert!(faults.is_empty(), "{faults:?}");
        }
        let _warnings = kind.strategy.warnings_on_create(&object);
    }
});
