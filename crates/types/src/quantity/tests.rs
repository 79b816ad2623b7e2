//! Tables: how quantities are read and printed, and what is refused.

use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    text.parse::<Quantity>()
        .map_or_else(|error| error.to_string(), |q| q.to_string())
}

#[test]
fn quantities_print_in_upstreams_canonical_form() {
    for (text, wanted) in [
        ("0", "0"),
        ("0.0", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("0.1", "100m"),
        ("100u", "100u"),
        ("0.5n", "1n"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1.2e3", "1200"),
        ("100", "100"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1k", "1k"),
        ("1024Ki", "1Mi"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("1.5Gi", "1536Mi"),
        ("0.5Mi", "512Ki"),
        ("1000Ki", "1000Ki"),
        ("128Mi", "128Mi"),
        ("-1Gi", "-1Gi"),
        ("-500m", "-500m"),
        ("+5", "5"),
        ("1E", "1E"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775807"),
        ("100Ei", "9223372036854775807"),
        ("1.", "1"),
        (".5", "500m"),
        ("0.3Ki", "307200m"),
        ("123456789M", "123456789M"),
    ] {
        assert_eq!(canonical(text), wanted, "{text}");
    }
}

#[test]
fn invalid_quantities_are_refused_with_upstreams_message() {
    for text in ["", "abc", "1.2.3", "1 Gi", "12x", "1Gi "] {
        assert_eq!(
            text.parse::<Quantity>(),
            Err(QuantityError::Format),
            "{text}"
        );
    }
    for text in ["1GB", "1K", "1mi", "1ee"] {
        let error = text.parse::<Quantity>().unwrap_err();
        assert!(
            matches!(error, QuantityError::Format | QuantityError::Suffix),
            "{text}"
        );
    }
    assert_eq!("1K".parse::<Quantity>(), Err(QuantityError::Suffix));
}

#[test]
fn sums_keep_the_suffix_family() {
    let gi: Quantity = "1Gi".parse().unwrap();
    let half: Quantity = "512Mi".parse().unwrap();
    assert_eq!((gi + half).to_string(), "1536Mi");
    assert_eq!((gi - half).to_string(), "512Mi");
    assert_eq!((half - gi).to_string(), "-512Mi");
    assert_eq!((Quantity::ZERO + gi).to_string(), "1Gi");
    assert!(half < gi && Quantity::from_millis(1000) == Quantity::from_units(1));
    assert_eq!(
        ("1.0001".parse::<Quantity>())
            .unwrap()
            .round_up_to_millis()
            .to_string(),
        "1001m"
    );
    assert_eq!(("1500m".parse::<Quantity>()).unwrap().units(), 2);
    assert_eq!(("0.0001".parse::<Quantity>()).unwrap().millis(), 1);
}

proptest! {
    #[test]
    fn printing_and_parsing_agree(nano in -(i64::MAX as i128) * UNIT..i64::MAX as i128 * UNIT, format in 0_usize..3) {
        let format = [Format::DecimalExponent, Format::DecimalSi, Format::BinarySi][format];
        let quantity = Quantity { nano, format };
        let again: Quantity = quantity.to_string().parse().unwrap();
        prop_assert_eq!(again, quantity);
        prop_assert_eq!(again.to_string(), quantity.to_string());
    }

    #[test]
    fn no_text_panics(text in "[-+0-9.eEinumkKMGTP]{0,24}") {
        let _parsed = text.parse::<Quantity>();
    }
}
