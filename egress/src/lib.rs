//! HTTP out: dialling under the SSRF rule, pinned, bounded
