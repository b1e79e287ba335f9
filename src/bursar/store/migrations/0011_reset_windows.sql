-- A charge from before all spend was set back may still be corrected downwards: then a window has less than nothing leased,
-- which is a credit in it, and must not keep anybody from posting.
ALTER TABLE bursar.windows DROP CONSTRAINT windows_leased_nano_usd_check;
