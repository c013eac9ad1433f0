"""x"""
from dataclasses import dataclass
from typing import Any
@dataclass
class Facts:
    title: Any; good: Any; rows: Any; sent_at: Any; delivered_at: Any; arrivals: Any; record_sizes: Any; bytes_by_shard: Any; shards: Any; metrics: Any; queue: Any; origin: Any
def write(p, f): return p
