//! Quantities: what is printed is the same amount, in its canonical form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::repeated_text;
use pandaemon_types::Quantity;

fuzz_target!(|text: &str| {
    let Ok(quantity) = repeated_text(text).parse::<Quantity>() else {
        return;
    };
    let printed = quantity.to_string();
    let again: Quantity = printed.parse().expect("a printed quantity");
    assert_eq!(again, quantity, "{printed}");
    assert_eq!(again.to_string(), printed);
    assert!((quantity - quantity).is_zero());
    let rounded = quantity.round_up_to_millis();
    assert_eq!(rounded.millis(), quantity.millis());
    assert_eq!(rounded.is_negative(), quantity.is_negative());
    assert_eq!(quantity < Quantity::ZERO, quantity.is_negative());
    if quantity.is_whole() && quantity.units().unsigned_abs() < 1 << 40 {
        assert_eq!(quantity, Quantity::from_units(quantity.units()));
    }
});
