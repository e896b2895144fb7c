#include "store/live.h"

#include "base/hash.h"

namespace ebb::store {

LiveRecord pack(const Live& live) {
  LiveRecord out;
  out.sequence = live.sequence;
  out.boot = live.boot;
  out.mdt_used = live.mdt_used;
  out.mdt_free = live.mdt_free;
  out.fname_used = live.fname_used;
  out.fname_free = live.fname_free;
  out.dirmap_used = live.dirmap_used;
  out.dirmap_free = live.dirmap_free;
  out.root = live.root;
  out.nodes = live.nodes;
  out.names = live.names;
  out.xxh3 = xxh3(bytes_of(out).first(offsetof(LiveRecord, xxh3)));
  return out;
}

bool unpack(const LiveRecord& record, Live& live) {
  live.sequence = record.sequence;
  live.boot = record.boot;
  live.mdt_used = record.mdt_used;
  live.mdt_free = record.mdt_free;
  live.fname_used = record.fname_used;
  live.fname_free = record.fname_free;
  live.dirmap_used = record.dirmap_used;
  live.dirmap_free = record.dirmap_free;
  live.root = record.root;
  live.nodes = record.nodes;
  live.names = record.names;
  return record.xxh3 == xxh3(bytes_of(record).first(offsetof(LiveRecord, xxh3)));
}

}  // namespace ebb::store
