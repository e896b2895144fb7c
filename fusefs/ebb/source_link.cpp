#include "fusefs/ebb/source_link.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <unistd.h>

#include "fusefs/ebb/embedded_source.h"

namespace ebb::fusefs {

Outcome<SourceLink> open_source(asio::io_context& io, const Source& source, bool insecure,
                                bool read_only) {
  if (!source.address) {
    auto embedded = EmbeddedSource::start(io, source.folder, read_only);
    if (!embedded) return tl::unexpected(embedded.error());
    return SourceLink{std::move(*embedded)};
  }
  SourceLink link;
  proto::ConnectOptions how;
  if (source.address->kind == proto::Address::Kind::tcp && !insecure) {
    auto enrolment = find_enrolment(*source.address);
    if (!enrolment) return tl::unexpected(enrolment.error());
    link.enrolment = std::move(*enrolment);
    how.key = link.enrolment->key;
    how.server = link.enrolment->server;
  }
  link.dialer = std::make_unique<AddressDialer>(io, *source.address, std::move(how));
  return link;
}

std::string host_name() {
  std::array<char, 256> buffer{};
  ::gethostname(buffer.data(), buffer.size() - 1);
  std::string name(buffer.data());
  name = name.substr(0, name.find('.'));
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
      '-');
  return name.empty() ? "localhost" : name.substr(0, 63);
}

}  // namespace ebb::fusefs
