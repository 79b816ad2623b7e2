//! First messages of TLS clients that no TLS library of today sends, and what a server should
//! answer.

/// The alert `protocol_version`.
const PROTOCOL_VERSION: u8 = 70;
/// The alert `handshake_failure`.
const HANDSHAKE_FAILURE: u8 = 40;
/// ECDHE with AES-GCM and ChaCha20-Poly1305, for keys of ECDSA.
const AEAD: &[u16] = &[0xc02b, 0xc02c, 0xcca9];

/// A client that offers no TLS 1.3.
#[derive(Debug)]
pub struct ClientHello {
    /// What it offers, for messages.
    pub name: &'static str,
    /// The highest version that it offers.
    version: u16,
    suites: &'static [u16],
    /// The alert that it should get; `None` if the handshake should go on.
    pub alert: Option<u8>,
}

const fn hello(
    name: &'static str,
    version: u16,
    suites: &'static [u16],
    alert: Option<u8>,
) -> ClientHello {
    ClientHello {
        name,
        version,
        suites,
        alert,
    }
}

/// Clients that every server should refuse, but for the last.
pub const CLIENT_HELLOS: [ClientHello; 7] = [
    hello("SSL 3.0", 0x0300, AEAD, Some(PROTOCOL_VERSION)),
    hello("TLS 1.0", 0x0301, AEAD, Some(PROTOCOL_VERSION)),
    hello("TLS 1.1", 0x0302, AEAD, Some(PROTOCOL_VERSION)),
    hello(
        "CBC",
        0x0303,
        &[
            0xc009, 0xc00a, 0xc023, 0xc024, 0xc013, 0xc014, 0xc027, 0xc028,
        ],
        Some(HANDSHAKE_FAILURE),
    ),
    hello(
        "no forward secrecy",
        0x0303,
        &[0x009c, 0x009d, 0x002f, 0x0035, 0x003c],
        Some(HANDSHAKE_FAILURE),
    ),
    hello(
        "RC4, 3DES, no encryption",
        0x0303,
        &[0x0005, 0x000a, 0xc006, 0xc007, 0xc008],
        Some(HANDSHAKE_FAILURE),
    ),
    hello("TLS 1.2", 0x0303, AEAD, None),
];

/// Some bytes, after their number in `width` bytes.
fn counted(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

impl ClientHello {
    /// The message as the client sends it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let groups = counted(2, &words(&[0x001d, 0x0017]));
        let signatures = counted(2, &words(&[0x0403, 0x0503, 0x0804, 0x0401]));
        let extensions = [(10_u16, groups), (13, signatures), (11, vec![1, 0])];
        let extensions: Vec<u8> = extensions
            .into_iter()
            .flat_map(|(kind, value)| [&kind.to_be_bytes()[..], &counted(2, &value)].concat())
            .collect();
        let message = [
            &self.version.to_be_bytes()[..],
            &[7; 32],
            // No session; no compression.
            &[0],
            &counted(2, &words(self.suites)),
            &[1, 0],
            &counted(2, &extensions),
        ]
        .concat();
        let handshake = [&[1_u8][..], &counted(3, &message)].concat();
        [&[22_u8, 3, 1][..], &counted(2, &handshake)].concat()
    }

    /// Whether this is what a server should answer: the fatal alert, or its own first message.
    #[must_use]
    pub fn is_answered_by(&self, answer: &[u8]) -> bool {
        match (self.alert, answer) {
            (Some(alert), [21, _, _, 0, 2, 2, found, ..]) => alert == *found,
            (None, [22, _, _, _, _, 2, ..]) => true,
            _ => false,
        }
    }
}
