#include "proto/assembler.h"

#include <algorithm>

#include "proto/errors.h"

namespace ebb::proto {

namespace {

/// Shorter data is copied once more.
constexpr std::uint32_t kLongContent = 16u << 10;
/// Offset and length, before the bytes of FileSyncData.
constexpr std::size_t kAroundContent = 8 + 4;

}  // namespace

void Assembler::allow(std::uint32_t packet_max) {
  packet_max_ = packet_max;
  may_span_ = true;
}

void Assembler::feed(ByteView in) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(taken_));
  taken_ = 0;
  if (content_) {
    const ByteView more = in.first(std::min(content_->left, in.size()));
    content_->data.bytes.insert(content_->data.bytes.end(), more.begin(), more.end());
    content_->left -= more.size();
    in = in.subspan(more.size());
  }
  buffer_.insert(buffer_.end(), in.begin(), in.end());
}

/// Only where nothing is wrong with it: what is wrong is found, and named, when it is decoded.
bool Assembler::begin_content(const PacketHeader& header, ByteView body) {
  const bool long_content = static_cast<Type>(std::uint8_t{header.type}) == Type::file_sync_data &&
                            header.flags == 0 && header.size >= kLongContent;
  if (!long_content || body.size() < kAroundContent || !understood(header)) return false;
  if (partials_.count(header.session) != 0) return false;
  Reader in(body);
  const auto offset = in.number<std::uint64_t>();
  const auto size = in.number<std::uint32_t>();
  const std::size_t whole = header.size - sizeof header - kAroundContent;
  if (size != whole || offset > kSizeMax - size) return false;
  const ByteView rest = in.rest();
  content_ = Content{header.session, {offset, {}}, whole - rest.size()};
  content_->data.bytes.reserve(whole);
  content_->data.bytes.assign(rest.begin(), rest.end());
  return true;
}

Result<std::optional<Assembler::Whole>> Assembler::next() {
  for (;;) {
    if (content_) {
      if (content_->left != 0) return std::nullopt;
      Content whole = *std::exchange(content_, std::nullopt);
      return Whole{whole.session, Type::file_sync_data, true, {}, std::move(whole.data)};
    }
    const ByteView rest = ByteView(buffer_).subspan(taken_);
    if (rest.size() < sizeof(PacketHeader)) return std::nullopt;
    PacketHeader header;
    std::memcpy(&header, rest.data(), sizeof header);
    // Before the body is here: a size that is a lie must not make us wait for it.
    if (auto good = check(header); !good) return pass(good.error());
    if (rest.size() < header.size) {
      if (begin_content(header, rest.subspan(sizeof header))) taken_ += rest.size();
      return std::nullopt;
    }
    taken_ += header.size;
    auto whole = join(header, rest.first(header.size).subspan(sizeof header));
    if (!whole || *whole) return whole;
  }
}

Result<> Assembler::check(const PacketHeader& header) const {
  if (header.size < sizeof header || header.size > packet_max_) {
    return fail(Errc::bad_packet, "size of a packet");
  }
  if (header.reserved != 0) return fail(Errc::bad_packet, "reserved bytes of a packet");
  if ((header.flags & ~kMore) != 0) return fail(Errc::bad_packet, "flags of a packet");
  if (header.oldest_reader == 0 || header.version < header.oldest_reader) {
    return fail(Errc::bad_packet, "versions of a packet");
  }
  const bool more = (header.flags & kMore) != 0;
  if (more && !may_span_) return fail(Errc::bad_packet, "a handshake of several packets");
  // It would be unfinished for ever at no cost.
  if (more && header.size == sizeof header)
    return fail(Errc::bad_packet, "an empty part of a message");
  return {};
}

Result<std::optional<Assembler::Whole>> Assembler::join(const PacketHeader& header, ByteView body) {
  const bool more = (header.flags & kMore) != 0;
  const auto type = static_cast<Type>(std::uint8_t{header.type});
  auto found = partials_.find(header.session);
  if (found == partials_.end()) {
    if (!more) {
      const bool good = understood(header);
      return Whole{header.session, type, good, good ? body : ByteView{}, {}};
    }
    if (partials_.size() >= messages_max_) return fail(Errc::too_much, "unfinished messages");
    found = partials_.emplace(header.session, Partial{type, understood(header), {}}).first;
  }
  Partial& partial = found->second;
  if (partial.type != type) return fail(Errc::bad_packet, "a message inside another");
  if (auto kept = keep(partial, body); !kept) return pass(kept.error());
  if (more) return std::nullopt;

  const bool good = partial.understood;
  joined_ = std::move(partial.body);
  partial_bytes_ -= joined_.size();
  partials_.erase(found);
  return Whole{header.session, type, good, joined_, {}};
}

Result<> Assembler::keep(Partial& partial, ByteView body) {
  if (!partial.understood) return {};
  if (body.size() > kMessageMax - partial.body.size()) {
    return fail(Errc::too_much, "length of a message");
  }
  if (body.size() > bytes_max_ - partial_bytes_) {
    return fail(Errc::too_much, "bytes of unfinished messages");
  }
  partial.body.insert(partial.body.end(), body.begin(), body.end());
  partial_bytes_ += body.size();
  return {};
}

bool Assembler::understood(const PacketHeader& header) {
  return known(static_cast<Type>(std::uint8_t{header.type})) &&
         header.oldest_reader <= kLayoutVersion;
}

}  // namespace ebb::proto
