import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseSchedule } from './schedule.ts';

function next(schedule: string, after: string, timeZone?: string): string | undefined {
  const ms = parseSchedule(schedule, timeZone).nextMs(Date.parse(after));
  return ms === undefined ? undefined : new Date(ms).toISOString().replace(':00.000Z', 'Z');
}

test('finds the next time of each kind of field', () => {
  const after = '2026-03-10T10:20:30Z'; // a Tuesday
  assert.equal(next('* * * * *', after), '2026-03-10T10:21Z');
  assert.equal(next('*/15 * * * *', after), '2026-03-10T10:30Z');
  assert.equal(next('5-10/5,50 9-17 * * mon-fri', after), '2026-03-10T10:50Z');
  assert.equal(next('@hourly', after), '2026-03-10T11:00Z');
  assert.equal(next('@weekly', after), '2026-03-15T00:00Z');
  assert.equal(next('0 0 * * 7', after), '2026-03-15T00:00Z');
  assert.equal(next('0 12 1 jan *', after), '2027-01-01T12:00Z');
  assert.equal(next('0 0 29 2 *', after), '2028-02-29T00:00Z');
  assert.equal(next('0 0 31 2 *', after), undefined);
});

test('with both days restricted, either is enough', () => {
  assert.equal(next('0 0 13 * fri', '2026-03-10T00:00Z'), '2026-03-13T00:00Z');
  assert.equal(next('0 0 13 * mon', '2026-03-10T00:00Z'), '2026-03-13T00:00Z');
  assert.equal(next('0 0 20 * thu', '2026-03-10T00:00Z'), '2026-03-12T00:00Z');
});

test('keeps to the time zone through its changes', () => {
  assert.equal(next('30 2 * * *', '2026-03-28T12:00Z', 'Europe/Berlin'), '2026-03-30T00:30Z'); // 02:30 does not exist on the 29th
  assert.equal(next('0 9 * * *', '2026-07-01T14:00Z', 'America/New_York'), '2026-07-02T13:00Z');
});

test('every time found is after the one before and no time between them fits', () => {
  const minute = fc.integer({ min: 0, max: 59 });
  const hour = fc.integer({ min: 0, max: 23 });
  fc.assert(
    fc.property(minute, hour, fc.integer({ min: 0, max: 2e9 }), (m, h, afterS) => {
      const ms = parseSchedule(`${m} ${h} * * *`).nextMs(afterS * 1000) as number;
      const date = new Date(ms);
      assert.equal(date.getUTCMinutes(), m);
      assert.equal(date.getUTCHours(), h);
      assert.ok(ms > afterS * 1000 && ms <= afterS * 1000 + 24 * 3_600_000);
    }),
  );
});

test('what is not a schedule is an error that says where', () => {
  const cases: Array<[string, RegExp]> = [
    ['', /1 fields, expected 5/],
    ['* * * *', /4 fields/],
    ['60 * * * *', /minute "60" is not within 0-59/],
    ['* * * foo *', /month "foo" is not within 1-12/],
    ['*/0 * * * *', /minute "\*\/0" is malformed/],
    ['5-1 * * * *', /malformed/],
    ['@reboot', /1 fields/],
  ];
  for (const [text, message] of cases) assert.throws(() => parseSchedule(text), message);
  assert.throws(() => parseSchedule('* * * * *', 'Mars/Olympus'), /unknown time zone Mars\/Olympus/);
});
