/** Writes docs/cluster-api.md. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { apiTable } from '../src/apiserver/api-table.ts';

writeFileSync(join(import.meta.dirname, '../../docs/cluster-api.md'), apiTable());
