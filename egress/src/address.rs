//! The SSRF rule: which addresses may be dialled. A pure function over an address and the configured allow-list.
//! In: an [`IpAddr`]. Out: nothing, or [`Refused`] with the kind of address it is. Resolves no names.
//!
//! IPv4 is open but for the special-purpose blocks (IANA registry, RFC 6890 and its updates); IPv6 is closed but for
//! global unicast (2000::/3) without its special-purpose blocks, so that forms which carry an IPv4 address inside
//! (mapped, compatible, NAT64, 6to4, Teredo) are refused whatever they carry.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses and URLs may be called.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Networks that may be dialled although they are special.
    pub allow: Vec<IpNet>,
    /// Whether only `https` URLs may be called.
    pub https_only: bool,
}

impl Rule {
    /// Whether `address` may be dialled.
    ///
    /// # Errors
    /// [`Refused`] when it is special and no network of the allow-list names it.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        match Special::of(address) {
            Some(special) if !self.allow.iter().any(|net| net.contains(&address)) => {
                Err(Refused { address, special })
            }
            _ => Ok(()),
        }
    }
}

/// An address that must not be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address {address} is {special} and must not be dialled: name its network in egress.allow to permit it"
)]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What kind of address it is.
    pub special: Special,
}

/// Why an address is not an ordinary one of the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// 0.0.0.0/8, `::`.
    Unspecified,
    /// RFC 1918.
    Private,
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// 169.254.0.0/16, fe80::/10; the clouds' metadata services live there.
    LinkLocal,
    /// 100.64.0.0/10 (RFC 6598).
    CarrierNat,
    /// fc00::/7 (RFC 4193).
    UniqueLocal,
    /// `::ffff:0:0/96` and `::/96`: an IPv4 address inside.
    MappedV4,
    /// 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215): an IPv4 address inside.
    Nat64,
    /// 2002::/16 and 192.88.99.0/24: an IPv4 address inside.
    SixToFour,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// Documentation and benchmarking blocks.
    Documentation,
    /// A cloud's host service on an address that looks public.
    Metadata,
    /// Anything else that is not public: protocol assignments (Teredo among them), reserved for the future.
    Reserved,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Special::Unspecified => "unspecified",
            Special::Private => "private",
            Special::Loopback => "loopback",
            Special::LinkLocal => "link-local",
            Special::CarrierNat => "carrier-grade NAT",
            Special::UniqueLocal => "unique local",
            Special::MappedV4 => "an IPv4-mapped form",
            Special::Nat64 => "a NAT64 form",
            Special::SixToFour => "a 6to4 form",
            Special::Multicast => "multicast",
            Special::Broadcast => "broadcast",
            Special::Documentation => "for documentation and benchmarks",
            Special::Metadata => "a cloud's host service",
            Special::Reserved => "reserved",
        })
    }
}

const fn v4(octets: [u8; 4], bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), bits)
}

const fn v6(first: [u16; 4], bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(
        Ipv6Addr::new(first[0], first[1], first[2], first[3], 0, 0, 0, 0),
        bits,
    )
}

/// The first block that holds an address decides, so the narrow ones stand first.
const SPECIAL_V4: &[(Ipv4Net, Special)] = &[
    (v4([0, 0, 0, 0], 8), Special::Unspecified),
    (v4([10, 0, 0, 0], 8), Special::Private),
    (v4([100, 64, 0, 0], 10), Special::CarrierNat),
    (v4([127, 0, 0, 0], 8), Special::Loopback),
    (v4([168, 63, 129, 16], 32), Special::Metadata),
    (v4([169, 254, 0, 0], 16), Special::LinkLocal),
    (v4([172, 16, 0, 0], 12), Special::Private),
    (v4([192, 0, 2, 0], 24), Special::Documentation),
    (v4([192, 0, 0, 0], 24), Special::Reserved),
    (v4([192, 88, 99, 0], 24), Special::SixToFour),
    (v4([192, 168, 0, 0], 16), Special::Private),
    (v4([198, 18, 0, 0], 15), Special::Documentation),
    (v4([198, 51, 100, 0], 24), Special::Documentation),
    (v4([203, 0, 113, 0], 24), Special::Documentation),
    (v4([224, 0, 0, 0], 4), Special::Multicast),
    (v4([255, 255, 255, 255], 32), Special::Broadcast),
    (v4([240, 0, 0, 0], 4), Special::Reserved),
];

const SPECIAL_V6: &[(Ipv6Net, Special)] = &[
    (
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
        Special::Unspecified,
    ),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), Special::Loopback),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        Special::MappedV4,
    ),
    (v6([0, 0, 0, 0], 96), Special::MappedV4),
    (v6([0x64, 0xff9b, 0, 0], 96), Special::Nat64),
    (v6([0x64, 0xff9b, 1, 0], 48), Special::Nat64),
    (v6([0x2001, 0xdb8, 0, 0], 32), Special::Documentation),
    (v6([0x2001, 0, 0, 0], 23), Special::Reserved),
    (v6([0x2002, 0, 0, 0], 16), Special::SixToFour),
    (v6([0x3fff, 0, 0, 0], 20), Special::Documentation),
    (v6([0xfc00, 0, 0, 0], 7), Special::UniqueLocal),
    (v6([0xfe80, 0, 0, 0], 10), Special::LinkLocal),
    (v6([0xff00, 0, 0, 0], 8), Special::Multicast),
];

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

impl Special {
    /// What is special about `address`, if anything.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Special> {
        match address {
            IpAddr::V4(v4) => SPECIAL_V4
                .iter()
                .find(|(net, _)| net.contains(&v4))
                .map(|(_, kind)| *kind),
            IpAddr::V6(v6) => SPECIAL_V6
                .iter()
                .find(|(net, _)| net.contains(&v6))
                .map(|(_, kind)| *kind)
                .or_else(|| (!GLOBAL_UNICAST.contains(&v6)).then_some(Special::Reserved)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<Special>) {
        let address: IpAddr = address.parse().expect("a literal address");
        assert_eq!(Special::of(address), expected, "{address}");
        let refused = Rule::default()
            .check_address(address)
            .err()
            .map(|refused| refused.special);
        assert_eq!(refused, expected, "{address}");
    }

    #[test]
    fn special_addresses_are_refused_and_public_ones_pass() {
        for (address, expected) in [
            ("0.0.0.0", Some(Special::Unspecified)),
            ("0.1.2.3", Some(Special::Unspecified)),
            ("10.0.0.1", Some(Special::Private)),
            ("172.15.255.255", None),
            ("172.16.0.1", Some(Special::Private)),
            ("172.31.255.255", Some(Special::Private)),
            ("172.32.0.0", None),
            ("192.168.1.1", Some(Special::Private)),
            ("100.63.255.255", None),
            ("100.64.0.0", Some(Special::CarrierNat)),
            ("100.100.100.200", Some(Special::CarrierNat)),
            ("100.127.255.255", Some(Special::CarrierNat)),
            ("100.128.0.0", None),
            ("127.0.0.1", Some(Special::Loopback)),
            ("127.255.255.254", Some(Special::Loopback)),
            ("168.63.129.16", Some(Special::Metadata)),
            ("169.254.169.254", Some(Special::LinkLocal)),
            ("192.0.0.192", Some(Special::Reserved)),
            ("192.0.2.1", Some(Special::Documentation)),
            ("192.88.99.1", Some(Special::SixToFour)),
            ("198.18.0.1", Some(Special::Documentation)),
            ("198.51.100.7", Some(Special::Documentation)),
            ("203.0.113.9", Some(Special::Documentation)),
            ("224.0.0.1", Some(Special::Multicast)),
            ("239.255.255.250", Some(Special::Multicast)),
            ("240.0.0.1", Some(Special::Reserved)),
            ("255.255.255.255", Some(Special::Broadcast)),
            ("1.1.1.1", None),
            ("93.184.215.14", None),
        ] {
            check(address, expected);
        }
    }

    #[test]
    fn forms_of_ipv6_that_reach_inside_are_refused() {
        for (address, expected) in [
            ("::", Some(Special::Unspecified)),
            ("::1", Some(Special::Loopback)),
            ("::ffff:127.0.0.1", Some(Special::MappedV4)),
            ("::ffff:1.1.1.1", Some(Special::MappedV4)),
            ("::127.0.0.1", Some(Special::MappedV4)),
            ("::ffff:0:127.0.0.1", Some(Special::Reserved)),
            ("64:ff9b::a9fe:a9fe", Some(Special::Nat64)),
            ("64:ff9b:1::1", Some(Special::Nat64)),
            ("2002:7f00:1::", Some(Special::SixToFour)),
            ("2001::7f00:1", Some(Special::Reserved)),
            ("2001:20::1", Some(Special::Reserved)),
            ("2001:db8::1", Some(Special::Documentation)),
            ("3fff::1", Some(Special::Documentation)),
            ("fc00::1", Some(Special::UniqueLocal)),
            ("fd00:ec2::254", Some(Special::UniqueLocal)),
            ("fe80::1", Some(Special::LinkLocal)),
            ("fec0::1", Some(Special::Reserved)),
            ("ff02::1", Some(Special::Multicast)),
            ("100::1", Some(Special::Reserved)),
            ("4000::1", Some(Special::Reserved)),
            ("2606:4700:4700::1111", None),
            ("2a00:1450:4001:80b::200e", None),
        ] {
            check(address, expected);
        }
    }

    #[test]
    fn an_allowed_network_opens_itself_alone() {
        let rule = Rule {
            allow: vec!["10.1.0.0/16".parse().expect("a network")],
            https_only: false,
        };
        for (address, passes) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("::ffff:10.1.2.3", false),
            ("1.1.1.1", true),
        ] {
            let address: IpAddr = address.parse().expect("a literal address");
            assert_eq!(rule.check_address(address).is_ok(), passes, "{address}");
        }
    }
}
