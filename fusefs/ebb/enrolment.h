// With which key this user connects, and which keys the servers have that it has enrolled with:
// files in the configuration folder.
#pragma once

#include <memory>
#include <string>

#include "fusefs/ebb/refusal.h"
#include "proto/asio/address.h"
#include "proto/asio/tls.h"

namespace ebb::fusefs {

/// What a connection over TLS needs.
struct Enrolment {
  std::shared_ptr<proto::TlsKey> key;
  proto::Fingerprint server{};
  std::string secret;  // of the invitation, empty where there is none
};

/// For an address with an invitation: what that says.  Without: what was enrolled with before; a
/// refusal where nothing was.
Outcome<Enrolment> find_enrolment(const proto::Address& address);
/// The server has taken the invitation, or has this key already.
Outcome<> keep_enrolment(const proto::Address& address, const proto::Fingerprint& server);

}  // namespace ebb::fusefs
